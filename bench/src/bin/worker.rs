//! One row under one allocator: the contestant is the feature this binary is built with.

use std::process::ExitCode;

cfg_if::cfg_if! {
    if #[cfg(feature = "mems")] {
        const NAME: &str = "mems";
        #[global_allocator]
        static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();
    } else if #[cfg(feature = "floor")] {
        const NAME: &str = "floor";
        #[global_allocator]
        static GLOBAL: mems_bench::floor::Floor = mems_bench::floor::Floor;
    } else if #[cfg(any(feature = "mimalloc", feature = "mimalloc-v2", feature = "mimalloc-secure"))] {
        const NAME: &str = if cfg!(feature = "mimalloc-v2") {
            "mimalloc-v2"
        } else if cfg!(feature = "mimalloc-secure") {
            "mimalloc-secure"
        } else {
            "mimalloc"
        };
        #[global_allocator]
        static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;
    } else if #[cfg(feature = "jemalloc")] {
        const NAME: &str = "jemalloc";
        #[global_allocator]
        static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
    } else if #[cfg(any(feature = "snmalloc", feature = "snmalloc-check"))] {
        const NAME: &str = if cfg!(feature = "snmalloc-check") { "snmalloc-check" } else { "snmalloc" };
        #[global_allocator]
        static GLOBAL: snmalloc_rs::SnMalloc = snmalloc_rs::SnMalloc;
    } else if #[cfg(feature = "rpmalloc")] {
        const NAME: &str = "rpmalloc";
        #[global_allocator]
        static GLOBAL: rpmalloc::RpMalloc = rpmalloc::RpMalloc;
    } else if #[cfg(feature = "rusty_alloc")] {
        const NAME: &str = "rusty_alloc";
        #[global_allocator]
        static GLOBAL: rusty_alloc_api::RustyAlloc = rusty_alloc_api::RustyAlloc;
    } else if #[cfg(feature = "stoolap-jemalloc")] {
        const NAME: &str = "stoolap-jemalloc";
        #[global_allocator]
        static GLOBAL: stoolap_jemalloc::Jemalloc = stoolap_jemalloc::Jemalloc::new();
    } else if #[cfg(feature = "tcmalloc")] {
        const NAME: &str = "tcmalloc";
        #[global_allocator]
        static GLOBAL: tcmalloc_better::TCMalloc = tcmalloc_better::TCMalloc;
    } else if #[cfg(feature = "talc")] {
        const NAME: &str = "talc";
        #[global_allocator]
        static GLOBAL: talc::TalcLock<
            spinning_top::RawSpinlock,
            talc::source::GlobalAllocSource<std::alloc::System>,
        > = talc::TalcLock::new(talc::source::GlobalAllocSource::new(std::alloc::System));
    } else {
        const NAME: &str = "system";
        #[global_allocator]
        static GLOBAL: std::alloc::System = std::alloc::System;
    }
}

/// What MeMS has counted, if it was built to count.
fn counts() -> Vec<(&'static str, u64)> {
    cfg_if::cfg_if! {
        if #[cfg(all(feature = "mems", mems_counted))] {
            mems::internal::counts().to_vec()
        } else {
            Vec::new()
        }
    }
}

fn main() -> ExitCode {
    mems_bench::worker::main(NAME, counts)
}
