//! What engines have in common whose programs decide in the kernel: what they are made of, why they can't be used, the
//! floor in their tables, and the way of their records into the session.

pub(crate) mod feed;
mod floor;
mod refused;

use std::sync::{Arc, OnceLock};

use gait_core::intent::Context;
use gait_core::policy::compile::CompiledPolicy;
use rustix::io::Errno;

use crate::bpf::BpfError;
use crate::bpf::canary::Stage;
use crate::bpf::image::Image;
use crate::cache::Cache;
use crate::session::GuardedPaths;

/// Why an engine can't be used here.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Unfit {
    /// Where.
    pub stage: Stage,
    /// The kernel's error, if there was one.
    pub errno: Option<Errno>,
    /// In words.
    pub reason: String,
}

impl Unfit {
    /// It is in force and does not what it should.
    pub(crate) fn silent(reason: &str) -> Self {
        Self { stage: Stage::Fire, errno: None, reason: reason.to_owned() }
    }

    /// What failed at `stage`.
    pub(crate) fn at(stage: Stage) -> impl Fn(BpfError) -> Self {
        move |cause| Self { stage, errno: cause.errno(), reason: cause.chain() }
    }
}

impl From<BpfError> for Unfit {
    fn from(cause: BpfError) -> Self {
        Self::at(Stage::of(&cause))(cause)
    }
}

/// What such an engine is made of.
pub struct Setup<'a> {
    /// The policy of the run.
    pub policy: &'a CompiledPolicy,
    /// Its context.
    pub context: &'a Arc<Context>,
    /// What no policy opens.
    pub paths: &'a GuardedPaths,
    /// May have the tables of the floor already.
    pub cache: &'a Cache,
    /// The tables of both, once they are made.
    pub image: OnceLock<Image>,
}

impl Setup<'_> {
    /// The tables that the kernel walks: floor and policy.
    ///
    /// # Errors
    /// [`BpfError`]: they can't be made, or don't fit.
    pub(crate) fn image(&self) -> Result<&Image, BpfError> {
        if let Some(image) = self.image.get() {
            return Ok(image);
        }
        let image = Image::of(self.policy).and_then(|image| floor::add(image, self))?;
        Ok(self.image.get_or_init(|| image))
    }
}
