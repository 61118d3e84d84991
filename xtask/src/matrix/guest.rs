//! One virtual machine: a kernel, a boot line, and the suites in it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::kernel::Kernel;
use super::results::{self, Results};
use super::root::make_image;
use crate::process::{output, succeed};

/// How much slower than this machine a guest is, whose processors are emulated: time limits of the suite are
/// multiplied by it, numbers of tries divided.
pub const SLOW: u32 = 20;

/// A kernel's series, its security modules, and who enforces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// `6.12`
    pub series: &'static str,
    /// `full`, `no-bpf`, `no-landlock`
    pub modules: &'static str,
    /// What the kernel is told: `lsm=`
    pub lsm: &'static str,
    /// What must be there, for `GAIT_KERNEL`.
    pub promises: String,
    /// `--engine` of each `gait exec`.
    pub engine: &'static str,
}

impl Guest {
    /// `6.12 full notify`
    pub fn name(&self) -> String {
        format!("{} {} {}", self.series, self.modules, self.engine)
    }

    fn file_name(&self) -> String {
        self.name().replace(' ', "-")
    }
}

/// What all guests share: the root file system, and what is run in them.
pub struct Machine {
    /// Root file system, never written.
    pub root: PathBuf,
    /// Images, logs and reports of the guests.
    pub folder: PathBuf,
    /// The suites' executables by name.
    pub suites: Vec<(String, PathBuf)>,
    /// The attack program.
    pub attack: PathBuf,
    /// The binary under test.
    pub gait: PathBuf,
    /// The workspace, which is in the guest where it is here.
    pub repository: PathBuf,
    /// Words that choose tests by name; none chooses all.
    pub words: Vec<String>,
    /// Whether suites are told which engine to ask for. An older `gait` knows no `--engine`.
    pub names_engine: bool,
    /// The longest that one guest may take.
    pub limit: Duration,
}

impl Machine {
    /// Boots `guest` and waits for its end.
    ///
    /// # Errors
    /// It could not be started at all. A guest that fails or hangs is a result.
    pub fn run(&self, guest: &Guest, kernel: &Kernel) -> Result<Results> {
        fs::create_dir_all(&self.folder)?;
        let work = tempfile::tempdir_in(&self.folder)?;
        let (memory_disk, disk) = (work.path().join("init.cpio"), work.path().join("suite.ext4"));
        memory_disk_of(kernel, &work.path().join("init"), &memory_disk)?;
        self.suite_disk(guest, &work.path().join("suite"), &disk)?;
        let at = |end: &str| self.folder.join(format!("{}.{end}", guest.file_name()));
        let (console, report) = (at("console.log"), at("report.jsonl"));
        // Whoever kills this task kills the machine too.
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        // One thread for both processors. With one each, QEMU can run code that the kernel has patched since: a breakpoint
        // of the patching that is no longer expected, as hooks are attached, and the kernel panics.
        qemu.args(["-accel", "tcg,thread=single", "-cpu", "max", "-m", "2048", "-smp", "2", "-no-reboot"]);
        qemu.args(["-display", "none", "-monitor", "none", "-nic", "none"]);
        qemu.arg("-serial").arg(format!("file:{}", console.display()));
        qemu.arg("-serial").arg(format!("file:{}", report.display()));
        qemu.arg("-drive").arg(format!("file={},format=raw,if=virtio,snapshot=on", self.root.display()));
        qemu.arg("-drive").arg(format!("file={},format=raw,if=virtio,readonly=on", disk.display()));
        qemu.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(&memory_disk);
        qemu.arg("-append").arg(format!("console=ttyS0 quiet panic=-1 lsm={}", guest.lsm));
        let said = at("qemu.log");
        let log = File::create(&said)?;
        qemu.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut running = Running(qemu.spawn().context("start qemu-system-x86_64")?);
        let ended = running.wait(self.limit)?;
        drop(running);
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).replace('\r', "");
        let suites: Vec<&str> = self.suites.iter().map(|(name, _)| name.as_str()).collect();
        let mut results = results::read(&read(&report), &read(&console), &suites, guest.lsm);
        if !ended {
            results.fail(format!("the guest did not end within {} s and was killed", self.limit.as_secs()));
        }
        if !read(&said).is_empty() && results.is_failed() {
            results.fail(format!("qemu said: {}", read(&said)));
        }
        Ok(results)
    }

    /// A disk with the suites, what they test, and the files of the workspace that they read.
    fn suite_disk(&self, guest: &Guest, folder: &Path, disk: &Path) -> Result<()> {
        let programs = folder.join("target/debug/deps");
        fs::create_dir_all(&programs)?;
        for (name, path) in &self.suites {
            fs::copy(path, programs.join(name))?;
        }
        fs::copy(&self.attack, folder.join("target/debug/attack"))?;
        fs::copy(&self.gait, folder.join("gait"))?;
        fs::copy(super::BUSYBOX, folder.join("busybox"))?;
        let files = output(Command::new("git").args(["ls-files"]).current_dir(&self.repository))?;
        for file in files.lines() {
            let (from, to) = (self.repository.join(file), folder.join("repository").join(file));
            if from.is_file() {
                fs::create_dir_all(to.parent().context("a file without a folder")?)?;
                fs::copy(from, to)?;
            }
        }
        fs::write(folder.join("settings"), self.settings(guest))?;
        fs::write(folder.join("guest.sh"), include_str!("guest.sh"))?;
        succeed(Command::new("chmod").arg("755").arg(folder.join("guest.sh")))?;
        make_image(folder, disk, 512)
    }

    /// Variables of the guest, in the language of its shell.
    fn settings(&self, guest: &Guest) -> String {
        let suites: Vec<&str> = self.suites.iter().map(|(name, _)| name.as_str()).collect();
        let mut lines = vec![
            ("REPOSITORY", self.repository.to_string_lossy().into_owned()),
            ("SUITES", suites.join(" ")),
            ("WORDS", self.words.join(" ")),
            ("GAIT_BIN", "/mnt/suite/gait".to_owned()),
            ("GAIT_KERNEL", guest.promises.clone()),
            ("GAIT_SUITE_SLOW", SLOW.to_string()),
            ("GAIT_SUITE_GUEST", guest.name()),
        ];
        if self.names_engine {
            lines.push(("GAIT_ENGINE", guest.engine.to_owned()));
        }
        let quoted = |value: &str| value.replace('\'', "'\\''");
        lines.iter().map(|(name, value)| format!("export {name}='{}'\n", quoted(value))).collect()
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
