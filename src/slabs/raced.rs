//! What becomes of a process in which a block was freed twice and both frees were accepted.

#[cfg(not(all(test, mems_loom)))]
pub(super) use real::stop_raced;

#[cfg(all(test, mems_loom))]
pub(super) use modelled::{count, stop_raced};

#[cfg(not(all(test, mems_loom)))]
mod real {
    use crate::base::fatal;
    use crate::heap::Misuse;

    /// Ends the process over the block at `address`.
    #[cold]
    #[inline(never)]
    pub(in crate::slabs) fn stop_raced(address: usize) {
        fatal::die(format_args!("{}", Misuse::frees_raced(address)))
    }
}

/// A model goes on, as if the slot had not come home.
#[cfg(all(test, mems_loom))]
mod modelled {
    use core::cell::RefCell;

    std::thread_local! {
        /// The blocks. All threads of a model run on one of the system's.
        static RACED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    }

    /// Notes the block at `address`.
    pub(in crate::slabs) fn stop_raced(address: usize) {
        RACED.with_borrow_mut(|raced| raced.push(address));
    }

    /// How often that was so since it was last asked.
    pub(in crate::slabs) fn count() -> usize {
        RACED.take().len()
    }
}
