//! `utime`, `utimes`, `futimesat`, `utimensat`.

use rustix::fd::AsFd;
use rustix::io::Errno;

use super::super::agent::{AT_FDCWD, Stop};
use super::Change;
use crate::event::PathOp;
use crate::sys;
use crate::sys::files::KernelTimes;

const OMIT: i64 = libc::UTIME_OMIT;

impl Change<'_> {
    pub(super) fn any_times(&self) -> Result<(), Stop> {
        let a = &self.call.args;
        let (dirfd, path, flags, times) = match self.call.nr {
            libc::SYS_utime => (AT_FDCWD, a[0], 0, self.seconds(a[1])?),
            libc::SYS_utimes => (AT_FDCWD, a[0], 0, self.microseconds(a[1])?),
            libc::SYS_futimesat => (self.call.int(0), a[1], 0, self.microseconds(a[2])?),
            _ => (self.call.int(0), a[1], a[3] as u32, self.nanoseconds(a[2])?),
        };
        if times.is_some_and(|times| times.values[0][1] == OMIT && times.values[1][1] == OMIT) {
            return Ok(());
        }
        let object = self.object_or_descriptor(dirfd, path, flags)?;
        self.permit(&object, PathOp::Utimes)?;
        Ok(sys::files::set_times(object.fd.as_fd(), times.as_ref())?)
    }

    fn numbers<const N: usize>(&self, address: u64) -> Result<Option<[i64; N]>, Stop> {
        if address == 0 {
            return Ok(None);
        }
        let mut bytes = [[0; 8]; N];
        self.agent.bytes(address, bytes.as_flattened_mut())?;
        Ok(Some(bytes.map(i64::from_ne_bytes)))
    }

    fn seconds(&self, address: u64) -> Result<Option<KernelTimes>, Stop> {
        let times = self.numbers(address)?;
        Ok(times.map(|[access, change]| KernelTimes { values: [[access, 0], [change, 0]] }))
    }

    fn microseconds(&self, address: u64) -> Result<Option<KernelTimes>, Stop> {
        let Some([access, access_us, change, change_us]) = self.numbers(address)? else { return Ok(None) };
        if ![access_us, change_us].iter().all(|us| (0..1_000_000).contains(us)) {
            return Err(Errno::INVAL.into());
        }
        Ok(Some(KernelTimes { values: [[access, access_us * 1000], [change, change_us * 1000]] }))
    }

    fn nanoseconds(&self, address: u64) -> Result<Option<KernelTimes>, Stop> {
        let times = self.numbers(address)?;
        Ok(times.map(|[a, a_ns, c, c_ns]| KernelTimes { values: [[a, a_ns], [c, c_ns]] }))
    }
}
