//! All zones of a heap: where spans and nodes get their pages, and what happens when a limit is met.
//!
//! Owns: the reservations. How the first one is divided, [`Division`] says. When a zone is full, a further one is
//! chained to it. Locked by the root's `zones` lock, under which alone MeMS makes system calls that grow the heap.
//!
//! The ladder: a reservation is tried at the size wished for and then at a quarter of it, and so on, because some
//! environments (valgrind, address-space limits) refuse large ones.

use core::ops::Range;

use super::bounds::Bounds;
use super::division::Division;
use super::lost::LostRuns;
use super::zone::{Run, Use, Zone};
use super::zone_table::ZoneTable;
use crate::base::addr;
use crate::base::bump::Bump;
use crate::base::os::{Os, OutOfMemory};
use crate::base::round::{align_down, align_up};

/// The smallest first reservation.
const MIN_RESERVATION: usize = 4 << 20;
/// The largest: half of the addresses that a process has.
const MAX_RESERVATION: usize = 64 << 40;
/// What a further zone reserves at the least, if nothing limits it.
const CHAINED_RESERVATION: usize = 64 << 30;
/// The least that is committed at once, for blocks and for nodes.
const MIN_STEP: usize = 256 << 10;
/// The most that is committed at once beyond the need: 1/8 of the zone, up to this.
const MAX_STEP: usize = 64 << 20;

/// Why no more was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// The system or a limit refuses, or there are no more addresses.
    Refused,
    /// The system refuses, and the zone has ended: see [`Zone::commit`].
    ZoneEnded,
}

/// The zones of a heap.
#[derive(Debug)]
pub(super) struct Zones {
    tables: [ZoneTable; 2],
    /// Bytes of reservations, one half of the address-space limit at the most.
    limit: Option<usize>,
    /// Bytes that may be committed.
    pub(super) limit_bytes: usize,
    /// Bytes by which records elsewhere may lie apart by chance; 0 where addresses are scarce.
    pub(super) spread: usize,
}

/// A part of the address-space limit, if there is one (RLIMIT_AS).
fn address_limit() -> Option<usize> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::As).current?;
    usize::try_from(limit).ok()
}

/// Reserves `wish` bytes or, down a ladder, as many as the system gives, at least `least`.
fn reserve(os: &impl Os, wish: usize, least: usize) -> Result<Range<usize>, OutOfMemory> {
    let mut len = wish.max(least);
    loop {
        let whole = align_up(len, os.page_size()).ok_or(OutOfMemory)?;
        match os.reserve(whole) {
            Ok(start) => {
                let start = addr::expose(start);
                return Ok(start..start + whole);
            }
            Err(OutOfMemory) if len == least => return Err(OutOfMemory),
            Err(OutOfMemory) => len = (len / 4).max(least),
        }
    }
}

/// How much a zone is committed by where `need` bytes are needed for `what`.
fn step(zone: &Zone, what: Use, need: usize, os: &impl Os) -> Result<usize, OutOfMemory> {
    let step = need.max((zone.committed / 8).clamp(MIN_STEP, MAX_STEP));
    let end = zone.committed_end();
    match os.huge_page_size().filter(|_| what == Use::Blocks) {
        // A huge page needs all of its addresses.
        Some(unit) => end.checked_add(step).and_then(|to| align_up(to, unit)).map(|to| to - end),
        None => align_up(step, os.page_size()),
    }
    .ok_or(OutOfMemory)
}

impl Zones {
    /// Reserves the first zones, for a heap with these bounds, and commits the first memory for nodes: `record_bytes`
    /// and more of it are left.
    #[expect(unsafe_code, reason = "puts the tables into memory that was just committed")]
    pub(super) fn new(
        os: &impl Os,
        bounds: &Bounds,
        record_bytes: usize,
    ) -> Result<(Self, Bump), OutOfMemory> {
        let (wish, limit_bytes, limit) = (bounds.reservation, bounds.limit_bytes, address_limit());
        let need = 2 * ZoneTable::BYTES + record_bytes;
        let need = align_up(need, os.page_size()).ok_or(OutOfMemory)?;
        if need > limit_bytes {
            return Err(OutOfMemory);
        }
        let most = limit.map_or(MAX_RESERVATION, |limit| limit / 2);
        let whole = reserve(os, wish.min(most).max(MIN_RESERVATION), MIN_RESERVATION)?;
        let mut division = Division::of(&whole, bounds, limit.is_none(), os.page_size());
        let wish = step(&division.nodes, Use::Nodes, need, os)?
            .min(align_down(limit_bytes, os.page_size()));
        let Ok(run) = division.nodes.commit(os, Use::Nodes, need, wish) else {
            division.zones().for_each(|(_, zone)| zone.release(os, &LostRuns::new()));
            return Err(OutOfMemory);
        };
        let mut memory = Bump::of(&(run.start..run.end()));
        // SAFETY: the run was just committed, and goes back with the zones, after the tables were read.
        let mut table = || unsafe { ZoneTable::within(&mut memory) };
        let tables = [table()?, table()?];
        let mut zones = Self { tables, limit, limit_bytes, spread: division.spread };
        for (what, zone) in division.zones() {
            zones.tables[what as usize].push(zone)?;
        }
        Ok((zones, memory))
    }

    /// Whether there was a limit on the process's addresses when the heap began, or there is one on what is committed.
    pub(super) const fn has_limit(&self) -> bool {
        self.limit.is_some() || self.limit_bytes < usize::MAX
    }

    /// The zones of one use.
    pub(super) fn all(&self, what: Use) -> &[Zone] {
        self.tables[what as usize].all()
    }

    /// The zone for huge blocks, at the end of all addresses if there is none. It ends where its tail was given up.
    pub(super) fn huge_range(&self) -> Range<usize> {
        let huge = self.all(Use::Blocks).iter().find(|zone| zone.is_huge);
        huge.map_or(usize::MAX..usize::MAX, |zone| zone.start..zone.start + zone.reserved)
    }

    /// Commits at least `need` bytes behind `end`, if that is where the committed part of a zone for blocks ends.
    pub(super) fn commit_behind(
        &mut self,
        os: &impl Os,
        end: usize,
        need: usize,
    ) -> Result<Run, OutOfMemory> {
        let (need, most) = self.within_limit(os, need)?;
        let is_wanted = |zone: &&mut Zone| zone.committed_end() == end && zone.room() >= need;
        let zone = self.all_mut(Use::Blocks).find(is_wanted).ok_or(OutOfMemory)?;
        zone.commit(os, Use::Blocks, need, step(zone, Use::Blocks, need, os)?.min(most))
    }

    /// The zone for blocks with the lowest start that is not below `start`.
    pub(super) fn next_block_zone(&self, start: usize) -> Option<Zone> {
        let behind = self.all(Use::Blocks).iter().filter(|zone| zone.start >= start);
        behind.min_by_key(|zone| zone.start).copied()
    }

    /// Whether `address` is reserved for blocks.
    pub(super) fn reserves_block_address(&self, address: usize) -> bool {
        let zones = self.all(Use::Blocks);
        zones.iter().any(|zone| zone.owned().contains(&address))
    }

    /// Whether `address` is committed for blocks.
    pub(super) fn has_block_address(&self, address: usize) -> bool {
        self.all(Use::Blocks).iter().any(|zone| zone.contains(address))
    }

    fn all_mut(&mut self, what: Use) -> impl Iterator<Item = &mut Zone> {
        self.tables[what as usize].all_mut().iter_mut()
    }

    /// Commits at least `need` bytes more for one use, and more if that is cheap. When a limit is in the way, gives the
    /// untouched tails of all zones up and tries again.
    pub(super) fn commit(
        &mut self,
        os: &impl Os,
        what: Use,
        need: usize,
    ) -> Result<Run, OutOfMemory> {
        self.commit_for(os, what, false, need)
    }

    /// Commits at least `need` bytes more for one use; with `is_huge`, in the zone for huge blocks if there is one.
    pub(super) fn commit_for(
        &mut self,
        os: &impl Os,
        what: Use,
        is_huge: bool,
        need: usize,
    ) -> Result<Run, OutOfMemory> {
        let (need, most) = self.within_limit(os, need)?;
        let first = self.commit_once(os, what, is_huge, need, most);
        let done = match first {
            // The zone has ended, which says nothing about the others.
            Err(Refusal::ZoneEnded) => self.commit_once(os, what, is_huge, need, need),
            _ => first,
        };
        if let Ok(run) = done {
            return Ok(run);
        }
        // Giving tails up helps only against a limit on addresses, and only if the limit could be met at all.
        let Some(limit) = address_limit() else { return Err(OutOfMemory) };
        if need.checked_add(self.sums().0).is_none_or(|sum| sum > limit) {
            return Err(OutOfMemory);
        }
        let is_huge = is_huge && self.has_huge_room(what, need);
        let mut gave_up = false;
        for kind in [Use::Blocks, Use::Nodes] {
            for zone in self.all_mut(kind) {
                let is_wanted = kind == what && zone.is_huge == is_huge && zone.room() >= need;
                gave_up |= zone.give_up_rest(os, if is_wanted { need } else { 0 });
            }
        }
        if !gave_up {
            return Err(OutOfMemory);
        }
        self.commit_once(os, what, is_huge, need, most).map_err(|_| OutOfMemory)
    }

    /// Whether a zone for huge blocks alone has room for `need` bytes.
    fn has_huge_room(&self, what: Use, need: usize) -> bool {
        self.all(what).iter().any(|zone| zone.is_huge && zone.room() >= need)
    }

    /// `need` bytes as whole pages, and the most that may still be committed under the limit that the heap was given,
    /// if that is as much.
    fn within_limit(&self, os: &impl Os, need: usize) -> Result<(usize, usize), OutOfMemory> {
        let need = align_up(need, os.page_size()).ok_or(OutOfMemory)?;
        let most = align_down(self.limit_bytes.saturating_sub(self.sums().0), os.page_size());
        if need > most { Err(OutOfMemory) } else { Ok((need, most)) }
    }

    /// Bytes that may still be committed under the limit that the heap was given, if it was given one.
    #[cfg(all(feature = "std", feature = "report"))]
    pub(super) fn room_below_limit(&self) -> Option<usize> {
        let room = self.limit_bytes.saturating_sub(self.sums().0);
        (self.limit_bytes < usize::MAX).then_some(room)
    }

    /// Commits `need` bytes or, if that is cheap, up to `most`.
    fn commit_once(
        &mut self,
        os: &impl Os,
        what: Use,
        is_huge: bool,
        need: usize,
        most: usize,
    ) -> Result<Run, Refusal> {
        let is_huge = is_huge && self.has_huge_room(what, need);
        let has_room = |zone: &Zone| zone.is_huge == is_huge && zone.room() >= need;
        let index = match self.all(what).iter().position(has_room) {
            Some(index) => index,
            None => self.chain(os, what, need).map_err(|OutOfMemory| Refusal::Refused)?,
        };
        let Some(zone) = self.all_mut(what).nth(index) else { return Err(Refusal::Refused) };
        let (reserved, is_chained) = (zone.reserved, index > 0 && !zone.is_huge);
        let wish = step(zone, what, need, os).map_err(|OutOfMemory| Refusal::Refused)?.min(most);
        let committed = zone.commit(os, what, need, wish);
        let has_ended = zone.reserved < reserved;
        if committed.is_err() && is_chained && zone.committed == 0 {
            // Reserved for nothing: so requests that fail, whatever their sizes, keep no addresses.
            self.remove(os, what, index);
        }
        let refusal = if has_ended { Refusal::ZoneEnded } else { Refusal::Refused };
        committed.map_err(|OutOfMemory| refusal)
    }

    /// Puts a further zone behind the last one of a use, and says which it is.
    #[cold]
    fn chain(&mut self, os: &impl Os, what: Use, need: usize) -> Result<usize, OutOfMemory> {
        if self.tables[what as usize].is_full() {
            return Err(OutOfMemory);
        }
        let so_far = self.all(what).iter().map(|zone| zone.reserved).sum();
        let wish = self.limit.map_or(CHAINED_RESERVATION.max(so_far), |limit| limit / 8);
        // Nodes have guards, and blocks need none.
        let guard = if what == Use::Nodes { os.page_size() } else { 0 };
        let least = need.max(os.page_size()).checked_add(2 * guard).ok_or(OutOfMemory)?;
        let whole = reserve(os, wish, least)?;
        self.tables[what as usize].push(Zone::within(whole.clone(), whole.start + guard, guard))?;
        Ok(self.all(what).len() - 1)
    }

    /// Commits `need` bytes at a multiple of `align` in a zone of their own, which has no other addresses. For
    /// alignments so large that a zone's committed part would have to grow by much more than is asked for.
    #[cold]
    pub(super) fn commit_apart(
        &mut self,
        os: &impl Os,
        need: usize,
        align: usize,
    ) -> Result<Run, OutOfMemory> {
        let (need, _) = self.within_limit(os, need)?;
        if !self.tables[Use::Blocks as usize].is_roomy() {
            return Err(OutOfMemory);
        }
        let len = need.checked_add(align).ok_or(OutOfMemory)?;
        let whole = reserve(os, len, len)?;
        let start = align_up(whole.start, align).ok_or(OutOfMemory)?;
        let mut zone = Zone::within(whole, start, 0);
        zone.give_up_rest(os, need);
        let committed = zone.commit(os, Use::Blocks, need, need);
        if committed.is_err() {
            zone.release(os, &LostRuns::new());
        } else {
            self.tables[Use::Blocks as usize].push(zone)?;
        }
        committed
    }

    /// Where zones for blocks start at a multiple of `align`.
    pub(super) fn starts_at(&self, align: usize) -> impl Iterator<Item = usize> {
        let zones = self.all(Use::Blocks).iter().map(|zone| zone.start);
        zones.filter(move |start| start.is_multiple_of(align))
    }

    /// Gives the addresses of a chained zone back, of which no page is committed or in use.
    fn remove(&mut self, os: &impl Os, what: Use, index: usize) {
        if let Some(zone) = self.tables[what as usize].remove(index) {
            // What is lost was never a part of a span that is all hole.
            zone.release(os, &LostRuns::new());
        }
    }

    /// Forgets the last commit of a use, which nobody has used.
    pub(super) fn retreat(&mut self, what: Use, run: Run) {
        if let Some(zone) = self.all_mut(what).find(|zone| zone.contains(run.start)) {
            zone.retreat(run);
        }
    }

    /// Drops all pages of the zone for blocks that starts at `start`, which holds none; a chained zone goes as a whole.
    pub(super) fn vacate(&mut self, os: &impl Os, start: usize) {
        let zones = self.all_mut(Use::Blocks).enumerate();
        let Some((index, zone)) = zones.into_iter().find(|(_, zone)| zone.start == start) else {
            return;
        };
        if index == 0 || zone.is_huge {
            return zone.vacate(os);
        }
        self.remove(os, Use::Blocks, index);
    }

    /// Bytes committed and bytes reserved beyond them.
    pub(super) fn sums(&self) -> (usize, usize) {
        let all = || [Use::Blocks, Use::Nodes].into_iter().flat_map(|what| self.all(what));
        (all().map(|zone| zone.committed).sum(), all().map(Zone::spare).sum())
    }

    /// Bytes committed for nodes.
    pub(super) fn node_bytes(&self) -> usize {
        self.all(Use::Nodes).iter().map(|zone| zone.committed).sum()
    }

    /// Gives all addresses back but those of runs that are lost: at last the zone in which the tables are.
    pub(super) fn release(&self, os: &impl Os, lost: &LostRuns) {
        let first = self.all(Use::Nodes).first().copied();
        self.all(Use::Blocks).iter().for_each(|zone| zone.release(os, lost));
        self.all(Use::Nodes).iter().skip(1).for_each(|zone| zone.release(os, lost));
        first.into_iter().for_each(|zone| zone.release(os, lost));
    }
}
