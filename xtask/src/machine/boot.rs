//! One start of a machine: from a folder with what runs in it to the end of it.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::kernel::Kernel;
use super::root::make_image;
use crate::process::succeed;

/// Room on the disk with what runs, in MiB. The file is sparse.
const DISK_MIB: u32 = 512;

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processors {
    /// Two, by the clock of this machine.
    Two,
    /// One, by the clock of this machine. Two that share a thread take turns of a tenth of a second as long as neither is idle,
    /// so who waits for the other waits as long; one does what its scheduler says.
    One,
    /// One, by a clock that each instruction moves on by a nanosecond, and that does not wait where there is nothing to
    /// execute.
    OneByInstructions,
}

impl Processors {
    /// One thread for both processors. With one each, QEMU can run code that the kernel has patched since: a breakpoint
    /// of the patching that is no longer expected, as hooks are attached, and the kernel panics.
    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Two => &["-accel", "tcg,thread=single", "-smp", "2"],
            Self::One => &["-accel", "tcg,thread=single", "-smp", "1"],
            Self::OneByInstructions => &["-accel", "tcg,thread=single", "-smp", "1", "-icount", "shift=0,sleep=off"],
        }
    }
}

/// What is started, and how.
pub struct Boot<'a> {
    /// Its kernel.
    pub kernel: &'a Kernel,
    /// Root file system, never written.
    pub root: &'a Path,
    /// Empty when it starts: what a guest writes comes to nothing, and what it is made of goes with this folder.
    pub work: &'a Path,
    /// Its content is `/mnt/suite`, read only; `guest.sh` in it is process 1 and ends the machine.
    pub content: &'a Path,
    /// What the kernel is told: `lsm=`
    pub lsm: &'a str,
    /// What executes.
    pub processors: Processors,
    /// Where console, report (`/dev/ttyS1`) and QEMU's own complaints go: `<start>.console.log` and so on.
    pub logs: &'a Path,
    /// How long it may take.
    pub limit: Duration,
}

/// What a machine left.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// Its console.
    pub console: String,
    /// What was written to `/dev/ttyS1`.
    pub report: String,
    /// What QEMU said.
    pub said: String,
    /// Whether it ended by itself.
    pub in_time: bool,
}

impl Boot<'_> {
    /// Boots the machine and waits for its end.
    ///
    /// # Errors
    /// It could not be started at all. A guest that fails or hangs is a result.
    pub fn run(&self) -> Result<Ended> {
        let (memory_disk, disk) = (self.work.join("init.cpio"), self.work.join("suite.ext4"));
        memory_disk_of(self.kernel, &self.work.join("init"), &memory_disk)?;
        self.fill_content()?;
        make_image(self.content, &disk, DISK_MIB)?;
        let at = |end: &str| {
            let name = self.logs.file_name().unwrap_or_default().to_string_lossy();
            self.logs.with_file_name(format!("{name}.{end}"))
        };
        let (console, report, said) = (at("console.log"), at("report.jsonl"), at("qemu.log"));
        // Whoever kills this task kills the machine too.
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        qemu.args(self.processors.flags()).args(["-cpu", "max", "-m", "2048", "-no-reboot"]);
        qemu.args(["-display", "none", "-monitor", "none", "-nic", "none"]);
        qemu.arg("-serial").arg(format!("file:{}", console.display()));
        qemu.arg("-serial").arg(format!("file:{}", report.display()));
        qemu.arg("-drive").arg(format!("file={},format=raw,if=virtio,snapshot=on", self.root.display()));
        qemu.arg("-drive").arg(format!("file={},format=raw,if=virtio,readonly=on", disk.display()));
        qemu.arg("-kernel").arg(self.kernel.image()).arg("-initrd").arg(&memory_disk);
        qemu.arg("-append").arg(format!("console=ttyS0 quiet panic=-1 lsm={}", self.lsm));
        let log = File::create(&said)?;
        qemu.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut running = Running(qemu.spawn().context("start qemu-system-x86_64")?);
        let in_time = running.wait(self.limit)?;
        drop(running);
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).replace('\r', "");
        Ok(Ended { console: read(&console), report: read(&report), said: read(&said), in_time })
    }

    /// What all guests have on their disk besides their own files.
    fn fill_content(&self) -> Result<()> {
        fs::copy(super::BUSYBOX, self.content.join("busybox"))?;
        fs::write(self.content.join("machine.sh"), include_str!("machine.sh"))?;
        succeed(Command::new("chmod").arg("755").arg(self.content.join("guest.sh")))
    }
}

/// The archive that the kernel unpacks into memory: a shell, modules, and the first program.
fn memory_disk_of(kernel: &Kernel, folder: &Path, archive: &Path) -> Result<()> {
    fs::create_dir_all(folder.join("bin"))?;
    fs::copy(super::BUSYBOX, folder.join("bin/busybox"))?;
    fs::write(folder.join("init"), include_str!("init.sh"))?;
    succeed(Command::new("chmod").arg("755").arg(folder.join("init")))?;
    let modules = kernel.modules(&folder.join("modules"))?;
    fs::write(folder.join("modules/order"), modules.iter().map(|name| format!("{name}\n")).collect::<String>())?;
    let pack = "find . | cpio -o -H newc --quiet -R 0:0 >\"$1\"";
    succeed(Command::new("/bin/sh").args(["-c", pack, "sh"]).arg(archive).current_dir(folder))
}

/// A guest that does not outlive the one who waits for it.
struct Running(Child);

impl Running {
    /// Whether it ended by itself within `limit`.
    fn wait(&mut self, limit: Duration) -> Result<bool> {
        let start = Instant::now();
        while self.0.try_wait()?.is_none() {
            if start.elapsed() > limit {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(true)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail on one that has ended, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
