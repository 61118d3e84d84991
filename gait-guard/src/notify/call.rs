//! One notification, decoded as far as the registers go.

use crate::event::Actor;

/// One held syscall of one thread.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The kernel's name for this notification.
    pub id: u64,
    /// The thread (`notif.pid` is a thread id).
    pub tid: i32,
    /// The syscall number, x86_64.
    pub nr: i64,
    /// The six argument registers.
    pub args: [u64; 6],
}

impl Call {
    /// Who made it.
    pub fn actor(&self) -> Actor {
        Actor { tid: self.tid }
    }

    /// Argument `n` as the kernel reads an `int`: the upper half of the register is ignored.
    pub fn int(&self, n: usize) -> i32 {
        self.args[n] as u32 as i32
    }
}
