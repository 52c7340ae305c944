//! The forms of a profile that is written at exit, which its path tells by how it ends.

/// A form in which a profile is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProfileForm {
    /// A line for each stack.
    Collapsed,
    /// That of pprof.
    Pprof,
    /// That of DHAT.
    Dhat,
    /// The heap map's page.
    Page,
}

impl ProfileForm {
    const ALL: [Self; 4] = [Self::Collapsed, Self::Pprof, Self::Dhat, Self::Page];
    /// What a path has to be.
    pub(crate) const EXPECTED: &str = "a path of 1 to 1023 bytes that ends in .txt (collapsed stacks), .pb.gz (pprof), \
        .json (DHAT) or .html (the page)";

    /// The form that a path wants.
    pub(crate) fn of(path: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|form| path.ends_with(form.ending().as_bytes()))
    }

    /// How its paths end.
    pub(crate) const fn ending(self) -> &'static str {
        match self {
            Self::Collapsed => ".txt",
            Self::Pprof => ".pb.gz",
            Self::Dhat => ".json",
            Self::Page => ".html",
        }
    }
}
