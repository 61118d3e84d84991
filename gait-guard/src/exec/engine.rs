//! Which engine decides a run.

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// `lsm` if it fires, else `notify`.
    #[default]
    Auto,
    /// Programs in the kernel, or no run.
    Lsm,
    /// The supervisor.
    Notify,
}

impl Engine {
    /// The engine of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Auto, Self::Lsm, Self::Notify].into_iter().find(|engine| engine.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Lsm => "lsm",
            Self::Notify => "notify",
        }
    }
}
