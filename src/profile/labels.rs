//! Labels: what a thread works on, in a program's own words. Samples copy the thread's label.

use core::fmt;
use core::marker::PhantomData;

use super::label_word;
use super::profiler::PROFILER;
use crate::base::array::Array;
use crate::base::os::OutOfMemory;

/// A name for what a thread works on: a kind of request, a stage, a tenant. Made by [`label`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Label(u32);

/// The label of a name, to be set for a scope by [`with_label`] or [`Label::enter`]. Equal names have the same label.
///
/// Looks the name up under a lock, O(length): make a label once, and use it as often as you like. Names are kept until
/// the process ends, a copy each, so name kinds of work, or tenants, but not each request. Where there is no memory for
/// the name, or the name is empty, the label is [`Label::NONE`].
///
/// ```
/// # #[global_allocator]
/// # static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();
/// GLOBAL.profile().start(1 << 10);
/// let import = mems::label("import");
/// let rows = mems::with_label(import, || vec![[0_u8; 64]; 10_000]);
/// let sites = GLOBAL.profile().sites().unwrap();
/// let sum = sites.labels().find(|sum| sum.name == "import").unwrap();
/// println!("{} bytes for {}", sum.bytes, sum.name);
/// # assert!(sum.bytes.value() > 600_000.0);
/// # drop(rows);
/// ```
#[must_use]
pub fn label(name: &str) -> Label {
    // A signal handler may have interrupted its thread in the middle of that.
    let labels = PROFILER.labels.lock_unless(|| PROFILER.is_interrupted());
    Label(labels.and_then(|mut labels| labels.intern(name).ok()).unwrap_or(0))
}

/// Runs a closure under a label: samples of what the thread allocates meanwhile have it. An inner label hides an outer
/// one. Takes a label, or a name, which is then looked up each time.
///
/// Costs a load and two stores; malloc and free cost what they cost without. Threads that the closure starts have no
/// label, and work that other threads do for it has theirs: set it there, too. Futures have [`Labelled`].
///
/// [`Labelled`]: crate::Labelled
pub fn with_label<T>(label: impl Into<Label>, run: impl FnOnce() -> T) -> T {
    let _scope = label.into().enter();
    run()
}

impl Label {
    /// No label: work that has none, or hides that of an outer scope.
    pub const NONE: Self = Self(0);

    /// Sets the label until the scope is dropped, on the calling thread.
    #[inline]
    #[must_use = "the label is set until the scope is dropped"]
    pub fn enter(self) -> LabelScope {
        let outer = Self::current();
        label_word::set(self.0);
        LabelScope { outer, is_threads: PhantomData }
    }

    /// A copy of its name: a writer that is shown it may allocate, look a label up, or wait for a thread that does.
    fn name(self) -> Result<Array<u8>, OutOfMemory> {
        let labels = PROFILER.labels.lock_unless_mine().ok_or(OutOfMemory)?;
        let mut name = Array::new();
        labels.get(self.0).bytes().try_for_each(|byte| name.push(byte))?;
        Ok(name)
    }

    /// The label of the calling thread.
    #[inline]
    #[must_use]
    pub fn current() -> Self {
        Self(label_word::get())
    }
}

impl From<&str> for Label {
    fn from(name: &str) -> Self {
        label(name)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Ok(name) => {
                f.debug_tuple("Label").field(&str::from_utf8(&name).unwrap_or_default()).finish()
            }
            Err(_) => f.debug_tuple("Label").finish_non_exhaustive(),
        }
    }
}

/// A scope under a label: [`Label::enter`]. The label from before is set again when it is dropped; drop scopes in
/// reverse order, as scopes of a block are.
#[derive(Debug)]
pub struct LabelScope {
    outer: Label,
    /// It belongs to the thread that has entered it.
    is_threads: PhantomData<*const ()>,
}

impl Drop for LabelScope {
    #[inline]
    fn drop(&mut self) {
        label_word::set(self.outer.0);
    }
}
