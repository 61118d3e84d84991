//! Setting and removing extended attributes.

use std::ffi::CString;

use rustix::fd::AsFd;
use rustix::io::Errno;

use super::super::agent::Stop;
use super::super::resolve::Last;
use super::super::view::Object;
use super::{Change, Target};
use crate::event::PathOp;
use crate::session::Floor;
use crate::sys;

/// `setxattrat` and `removexattrat`, Linux 6.13.
pub(super) const SETXATTRAT: i64 = 463;
pub(super) const REMOVEXATTRAT: i64 = 466;

const LONGEST_NAME: usize = 255;
const LARGEST_VALUE: usize = 65_536;
const FLAGS: u32 = (libc::XATTR_CREATE | libc::XATTR_REPLACE) as u32;
/// A program with this attribute has capabilities whoever runs it.
const CAPABILITIES: &[u8] = b"security.capability";

/// A value to be set, still in the agent's memory.
struct Value {
    address: u64,
    size: u64,
    flags: u32,
}

impl Change<'_> {
    pub(super) fn any_setxattr(&self) -> Result<(), Stop> {
        let a = &self.call.args;
        let (name, value) = match self.call.nr {
            SETXATTRAT => (a[3], self.value_argument(a[4], a[5])?),
            _ => (a[1], Value { address: a[2], size: a[3], flags: a[4] as u32 }),
        };
        // For the `at` form the kernel looks at the flags of the path first.
        let target = if self.call.nr == SETXATTRAT { Some(self.target_at()?) } else { None };
        if value.flags & !FLAGS != 0 {
            return Err(Errno::INVAL.into());
        }
        let name = self.attribute_name(name)?;
        if value.size > LARGEST_VALUE as u64 {
            return Err(Errno::TOOBIG.into());
        }
        let mut bytes = vec![0; value.size as usize];
        self.agent.bytes(value.address, &mut bytes)?;
        let object = self.attribute_object(target, libc::SYS_lsetxattr, libc::SYS_fsetxattr)?;
        if name.as_bytes() == CAPABILITIES {
            return Err(self.refuse(&object, Floor::Privilege));
        }
        self.permit(&object, PathOp::Setxattr)?;
        let path = self.view().own_path(object.fd.as_fd())?;
        Ok(sys::files::set_attribute(path.as_c_str(), &name, &bytes, value.flags as i32)?)
    }

    pub(super) fn any_removexattr(&self) -> Result<(), Stop> {
        let a = &self.call.args;
        let target = if self.call.nr == REMOVEXATTRAT { Some(self.target_at()?) } else { None };
        let name = self.attribute_name(if self.call.nr == REMOVEXATTRAT { a[3] } else { a[1] })?;
        let object = self.attribute_object(target, libc::SYS_lremovexattr, libc::SYS_fremovexattr)?;
        self.permit(&object, PathOp::Removexattr)?;
        let path = self.view().own_path(object.fd.as_fd())?;
        Ok(rustix::fs::removexattr(path.as_c_str(), name.as_c_str())?)
    }

    fn target_at(&self) -> Result<Target, Errno> {
        Target::with_flags(self.call.int(0), self.call.args[1], self.call.args[2] as u32)
    }

    fn attribute_object(&self, target: Option<Target>, on_link: i64, on_fd: i64) -> Result<Object, Stop> {
        match (target, self.call.nr) {
            (Some(target), _) => self.object(target),
            (None, nr) if nr == on_fd => self.descriptor(self.call.int(0)),
            (None, nr) if nr == on_link => self.object(Target::path(self.call.args[0], Last::Keep)),
            (None, _) => self.object(Target::path(self.call.args[0], Last::Follow)),
        }
    }

    fn attribute_name(&self, address: u64) -> Result<CString, Stop> {
        let mut room = [0; LONGEST_NAME + 1];
        match self.agent.string(address, &mut room)? {
            None | Some(0) => Err(Errno::RANGE.into()),
            Some(length) => Ok(CString::new(&room[..length]).unwrap_or_default()),
        }
    }

    /// `struct xattr_args`: address, size, flags.
    fn value_argument(&self, address: u64, size: u64) -> Result<Value, Stop> {
        const FIRST: usize = 16;
        const MOST: u64 = 4096;
        if size < FIRST as u64 {
            return Err(Errno::INVAL.into());
        }
        if size > MOST {
            return Err(Errno::TOOBIG.into());
        }
        let mut bytes = vec![0; size as usize];
        self.agent.bytes(address, &mut bytes)?;
        if bytes[FIRST..].iter().any(|byte| *byte != 0) {
            return Err(Errno::TOOBIG.into());
        }
        let number =
            |range: std::ops::Range<usize>| bytes[range].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Ok(Value { address: number(0..8), size: number(8..12), flags: number(12..16) as u32 })
    }
}
