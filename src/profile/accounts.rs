//! What regions are counted by: how much was handed out in each, and the most that was live at a time.
//!
//! Every block of a region is noted, so nothing has to be estimated. Its record says which account it is in; what is
//! entered there is entered in those of the outer regions as well.

use crate::base::array::Array;
use crate::base::index::Index;
use crate::base::os::OutOfMemory;

/// What a region has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RegionSums {
    /// Blocks that were handed out, and the bytes of their slots or runs, with those by which they grew in place.
    pub(crate) allocations: usize,
    pub(crate) allocated: usize,
    /// Bytes that are live, and the most that were.
    pub(super) live: usize,
    pub(crate) peak: usize,
}

/// An account.
#[derive(Clone, Copy, Debug)]
struct Account {
    number: u32,
    /// The one in which what is entered here is entered as well; 0 for none.
    outer: u32,
    /// The one that has its sums: itself, or that of the region whose threads are followed.
    summed_by: u32,
    /// By what threads are told that start in the region; 0 where none are followed.
    token: u64,
    /// Whether it is known which stack has asked for how much.
    by_stack: bool,
    /// Whether its region has ended: then it only says where else to enter what is entered here.
    is_closed: bool,
    sums: RegionSums,
}

/// What a stack has asked for in a region.
#[derive(Clone, Copy, Debug)]
struct StackSum {
    account: u32,
    stack: u32,
    allocations: f64,
    allocated: f64,
}

/// All accounts.
#[derive(Debug)]
pub(super) struct Accounts {
    accounts: Array<Account>,
    /// The number of the newest one.
    newest: u32,
    stacks: Array<StackSum>,
    index: Index,
}

impl Accounts {
    pub(super) const fn new() -> Self {
        Self { accounts: Array::new(), newest: 0, stacks: Array::new(), index: Index::new() }
    }

    /// Opens an account for a region inside of another one, or of none.
    pub(super) fn open(&mut self, outer: u32, by_stack: bool) -> Result<u32, OutOfMemory> {
        let number = self.next();
        self.push(Account {
            number,
            outer,
            summed_by: number,
            token: 0,
            by_stack,
            is_closed: false,
            sums: RegionSums::default(),
        })
    }

    /// Opens one for the threads that start in a region, and are told by the first of these tokens that no open account
    /// has. Answers its number, and the token.
    pub(super) fn open_for_threads(
        &mut self,
        region: u32,
        mut tokens: impl Iterator<Item = u64>,
    ) -> Result<(u32, u64), OutOfMemory> {
        let number = self.next();
        let is_taken = |token| self.accounts.iter().any(|one| one.token == token && !one.is_closed);
        let token = tokens.find(|token| !is_taken(*token)).ok_or(OutOfMemory)?;
        let by_stack = self.find(region).is_some_and(|account| account.by_stack);
        // What they do is an outer region's affair only if that follows threads, too.
        let outer = self.outer_for_threads(region);
        self.push(Account {
            number,
            outer,
            summed_by: region,
            token,
            by_stack,
            is_closed: false,
            sums: RegionSums::default(),
        })?;
        Ok((number, token))
    }

    fn next(&self) -> u32 {
        self.newest.wrapping_add(1).max(1)
    }

    fn push(&mut self, account: Account) -> Result<u32, OutOfMemory> {
        self.accounts.push(account)?;
        self.newest = account.number;
        Ok(account.number)
    }

    /// The account for threads of the region around this one, if that follows any.
    fn outer_for_threads(&self, region: u32) -> u32 {
        let mut outer = self.find(region).map_or(0, |account| account.outer);
        while outer > 0 {
            // The region is that of a thread that is followed, or one that follows threads is around it.
            let is_meant = |one: &&Account| one.number == outer || one.summed_by == outer;
            let mut threads = self.accounts.iter().filter(|one| one.token > 0);
            if let Some(threads) = threads.find(is_meant) {
                return threads.number;
            }
            outer = self.find(outer).map_or(0, |account| account.outer);
        }
        0
    }

    fn place(&self, number: u32) -> Option<usize> {
        self.accounts.binary_search_by_key(&number, |account| account.number).ok()
    }

    fn find(&self, number: u32) -> Option<&Account> {
        self.accounts.get(self.place(number)?)
    }

    /// The account for the threads that have this token: also those that begin to allocate only when the region has
    /// ended in which they have started, inside of another one. A thread that runs in real time has none, which is 0.
    pub(super) fn of_token(&self, token: u64) -> Option<u32> {
        let mut for_threads = self.accounts.iter().filter(|account| account.token > 0);
        let newest = for_threads.rfind(|account| account.token == token)?;
        Some(self.successor(newest.number)).filter(|number| *number > 0)
    }

    /// In which account it is entered what a heap does that has served this one: the same while that is open.
    pub(super) fn successor(&self, mut number: u32) -> u32 {
        while let Some(account) = self.find(number)
            && account.is_closed
        {
            number = account.outer;
        }
        self.find(number).map_or(0, |account| account.number)
    }

    pub(super) fn sums(&self, number: u32) -> RegionSums {
        self.find(number).map_or_else(RegionSums::default, |account| account.sums)
    }

    /// Lets `enter` change the sums of an account and of those around it.
    fn enter(&mut self, number: u32, enter: impl Fn(&mut RegionSums)) {
        let mut next = number;
        while let Some(account) = self.find(next).copied() {
            if !account.is_closed
                && let Some(place) = self.place(account.summed_by)
            {
                let sums = &mut self.accounts.items_mut()[place].sums;
                enter(sums);
                sums.peak = sums.peak.max(sums.live);
            }
            next = account.outer;
        }
    }

    /// Enters a block that is handed out. Answers in which account it is: in this one, or its successor.
    pub(super) fn allocated(&mut self, number: u32, stack: u32, bytes: usize) -> u32 {
        self.enter(number, |sums| {
            sums.allocations += 1;
            sums.allocated += bytes;
            sums.live += bytes;
        });
        let mut next = number;
        while let Some(account) = self.find(next).copied() {
            if account.by_stack && !account.is_closed {
                // Without memory for it the stack is not named.
                let _ = self.count_stack(account.summed_by, stack, bytes);
            }
            next = account.outer;
        }
        self.successor(number)
    }

    /// Enters that a live block has other bytes now.
    pub(super) fn resized(&mut self, number: u32, from: usize, to: usize) {
        self.enter(number, |sums| {
            sums.allocated += to.saturating_sub(from);
            sums.live = sums.live.saturating_sub(from) + to;
        });
    }

    fn count_stack(&mut self, account: u32, stack: u32, bytes: usize) -> Result<(), OutOfMemory> {
        self.index.reserve()?;
        let hash =
            (u64::from(account) << 32 | u64::from(stack)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let is_meant = |number: u32| {
            let sum = self.stacks.get(number as usize);
            sum.is_some_and(|sum| (sum.account, sum.stack) == (account, stack))
        };
        let place = match self.index.find(hash, is_meant) {
            Ok(number) => number as usize,
            Err(free) => {
                let new = StackSum { account, stack, allocations: 0.0, allocated: 0.0 };
                self.stacks.push(new)?;
                self.index.enter(free, hash);
                self.stacks.len() - 1
            }
        };
        let sum = &mut self.stacks.items_mut()[place];
        sum.allocations += 1.0;
        sum.allocated += bytes as f64;
        Ok(())
    }

    /// Shows what each stack has asked for in a region to `each`: its number, blocks, and their bytes.
    #[cfg(feature = "report")]
    pub(super) fn for_each_stack(&self, account: u32, mut each: impl FnMut(u32, [f64; 2])) {
        let ours = self.stacks.iter().filter(|sum| sum.account == account);
        ours.for_each(|sum| each(sum.stack, [sum.allocations, sum.allocated]));
    }

    /// Closes an account: nothing is entered there any more, but around it. If blocks may be live that were entered in
    /// it: the account that they are to be in from now on, or 0. Until they are it has to [stay](Accounts::forget).
    pub(super) fn close(&mut self, number: u32) -> Option<u32> {
        let place = self.place(number)?;
        self.accounts.items_mut()[place].is_closed = true;
        let summed_by = self.accounts.get(place)?.summed_by;
        (self.sums(summed_by).live > 0).then(|| self.successor(number))
    }

    /// Forgets a closed account in which no block is any more. That of threads stays as long as it leads to another
    /// one: they may go on, and ask where. O(1) for these, else O(accounts).
    pub(super) fn forget(&mut self, number: u32) {
        let Some(account) = self.find(number).copied() else { return };
        let is_for_threads = account.token > 0;
        if is_for_threads && self.successor(number) > 0 {
            return;
        }
        if is_for_threads {
            self.end_ways();
        }
        let mut kept = 0;
        for place in 0..self.accounts.len() {
            let Some(account) = self.accounts.get(place).copied() else { break };
            let is_at_end = account.is_closed && account.token > 0 && account.outer == 0;
            if account.number != number && !is_at_end {
                self.accounts.items_mut()[kept] = account;
                kept += 1;
            }
        }
        self.accounts.truncate(kept);
        if !self.accounts.iter().any(|account| account.by_stack) {
            (self.stacks, self.index) = (Array::new(), Index::new());
        }
    }

    /// Lets those accounts lead nowhere that lead to none which is open. Each leads to older ones.
    fn end_ways(&mut self) {
        for place in 0..self.accounts.len() {
            let Some(account) = self.accounts.get(place).copied() else { break };
            if account.is_closed && self.successor(account.number) == 0 {
                self.accounts.items_mut()[place].outer = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_open_accounts_have_one_token() -> Result<(), OutOfMemory> {
        let mut accounts = Accounts::new();
        let region = accounts.open(0, false)?;
        let mut tokens = Vec::new();
        for _ in 0..3 {
            tokens.push(accounts.open_for_threads(region, 7..10)?);
        }
        assert_eq!(tokens, [(2, 7), (3, 8), (4, 9)]);
        assert!(accounts.open_for_threads(region, 7..10).is_err(), "none is left");
        accounts.close(3);
        accounts.forget(3);
        assert_eq!(accounts.open_for_threads(region, 7..10), Ok((5, 8)));
        assert_eq!(accounts.of_token(8), Some(5), "the newest one");
        Ok(())
    }

    #[test]
    fn who_has_no_token_is_in_no_account() -> Result<(), OutOfMemory> {
        let mut accounts = Accounts::new();
        accounts.open(0, false)?;
        assert_eq!(accounts.of_token(0), None);
        Ok(())
    }

    /// What is handed out while an account is closed is entered in the one around it, and nothing stays in the end.
    #[test]
    fn a_closed_account_leads_outwards() -> Result<(), OutOfMemory> {
        let mut accounts = Accounts::new();
        let outer = accounts.open(0, false)?;
        let (outer_threads, _) = accounts.open_for_threads(outer, 7..9)?;
        let inner = accounts.open(outer, false)?;
        let (threads, token) = accounts.open_for_threads(inner, 7..9)?;
        assert_eq!(accounts.allocated(threads, 0, 8), threads);
        assert_eq!(accounts.close(threads), Some(outer_threads));
        assert_eq!(accounts.allocated(threads, 0, 16), outer_threads);
        assert_eq!([inner, outer].map(|number| accounts.sums(number).allocated), [8, 24]);
        accounts.forget(threads);
        assert_eq!(accounts.of_token(token), Some(outer_threads), "it starts to allocate late");
        for number in [inner, outer_threads, outer] {
            accounts.close(number);
            accounts.forget(number);
        }
        assert_eq!(accounts.accounts.len(), 0);
        Ok(())
    }
}
