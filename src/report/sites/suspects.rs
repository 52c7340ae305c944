//! Lines of code that are suspected of a leak: a call of the program's own, on all stacks that lead there.

use super::names::Names;
use crate::base::array::Array;
use crate::base::os::OutOfMemory;
use crate::profile::{Growth, SiteGrowth, Suspicion};

/// Where calls return to, in order, and what speaks for a leak there.
#[derive(Debug)]
pub(super) struct Suspects(Array<(usize, Suspicion)>);

impl Suspects {
    /// None.
    pub(super) const fn none() -> Self {
        Self(Array::new())
    }

    /// Judges all calls of a program's own. O(sites log sites + sites frames).
    pub(super) fn of(growth: &Growth<'_>, names: &Names) -> Result<Self, OutOfMemory> {
        let mut calls = Array::new();
        for grown in growth.iter() {
            let call = grown.site().and_then(|site| names.own_call(&site));
            call.map_or(Ok(()), |call| calls.push((call, Suspicion::of(&grown))))?;
        }
        calls.sort_and_merge(
            |one: &(usize, Suspicion), other| one.0.cmp(&other.0),
            |sum, other| sum.1 += other.1,
        );
        Ok(Self(calls))
    }

    /// What speaks for a leak at the call of a site, if that is one. Where names are not known, each stack is judged by
    /// itself.
    pub(super) fn at(&self, names: &Names, grown: &SiteGrowth<'_>) -> Option<Suspicion> {
        let call = grown.site().and_then(|site| names.own_call(&site));
        let Some(call) = call else {
            return Some(Suspicion::of(grown)).filter(Suspicion::is_of_a_leak);
        };
        let index = self.0.binary_search_by_key(&call, |sum| sum.0).ok()?;
        self.0.get(index).map(|sum| sum.1).filter(Suspicion::is_of_a_leak)
    }
}
