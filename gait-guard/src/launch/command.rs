//! What is to be run: a program looked up as a shell would, its arguments and its environment.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Access, AtFlags, CWD, accessat};

/// Why a command can't be run. Nothing was started.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no program.
    #[error("no command was given")]
    Empty,
    /// It would be cut there.
    #[error("an argument or a variable contains a NUL byte")]
    Nul,
    /// Neither the path nor any folder of `PATH` has it.
    #[error("`{program}` was not found")]
    NotFound {
        /// As given.
        program: String,
    },
    /// It is there, but not for this user, or not as a program.
    #[error("`{program}` can't be executed")]
    NotExecutable {
        /// As given.
        program: String,
    },
}

/// A command that can be tried.
#[derive(Clone, Debug)]
pub struct Command {
    programs: Arc<[CString]>,
    argv: Arc<[CString]>,
    environment: Arc<[CString]>,
}

impl Command {
    /// Looks `argv[0]` up in `path` (the value of `PATH`) if it has no slash. The program that is executed is found
    /// and judged again when the agent's own `execve` is: this look-up only gives clear errors early.
    ///
    /// # Errors
    /// Those of [`CommandError`].
    pub fn new(
        argv: &[OsString],
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        path: Option<&OsStr>,
    ) -> Result<Self, CommandError> {
        let program = argv.first().filter(|p| !p.is_empty()).ok_or(CommandError::Empty)?;
        let candidates = candidates(program, path)?;
        let c_string = |bytes: &[u8]| CString::new(bytes).map_err(|_| CommandError::Nul);
        let environment = environment.into_iter().map(|(name, value)| {
            let mut line = name.into_encoded_bytes();
            line.push(b'=');
            line.extend(value.as_encoded_bytes());
            c_string(&line)
        });
        Ok(Self {
            programs: candidates.iter().map(|p| c_string(p.as_os_str().as_bytes())).collect::<Result<_, _>>()?,
            argv: argv.iter().map(|arg| c_string(arg.as_bytes())).collect::<Result<_, _>>()?,
            environment: environment.collect::<Result<_, _>>()?,
        })
    }

    /// Where the program is, best first.
    pub fn programs(&self) -> &[CString] {
        &self.programs
    }

    /// The arguments, the first as it was given.
    pub fn argv(&self) -> &[CString] {
        &self.argv
    }

    /// `NAME=value` lines.
    pub fn environment(&self) -> &[CString] {
        &self.environment
    }

    /// Programs, arguments and environment, for a child that may outlive this.
    pub(super) fn texts(&self) -> [Arc<[CString]>; 3] {
        [&self.programs, &self.argv, &self.environment].map(Arc::clone)
    }
}

fn candidates(program: &OsStr, path: Option<&OsStr>) -> Result<Vec<PathBuf>, CommandError> {
    let all: Vec<PathBuf> = if program.as_bytes().contains(&b'/') {
        vec![PathBuf::from(program)]
    } else {
        // What execvp takes where there is no PATH; an empty entry is the working directory.
        let path = path.unwrap_or(OsStr::new("/bin:/usr/bin"));
        path.as_bytes().split(|&b| b == b':').map(|dir| folder(dir).join(program)).collect()
    };
    let there: Vec<PathBuf> = all.into_iter().filter(|p| std::fs::metadata(p).is_ok()).collect();
    let text = || program.to_string_lossy().into_owned();
    if there.is_empty() {
        return Err(CommandError::NotFound { program: text() });
    }
    let able: Vec<PathBuf> = there.into_iter().filter(|p| is_executable(p)).collect();
    if able.is_empty() { Err(CommandError::NotExecutable { program: text() }) } else { Ok(able) }
}

fn folder(dir: &[u8]) -> &Path {
    Path::new(if dir.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(dir) })
}

fn is_executable(program: &Path) -> bool {
    program.is_file() && accessat(CWD, program, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(program: &str, path: Option<&str>) -> Result<Command, CommandError> {
        Command::new(&[program.into()], [("A".into(), "b".into())], path.map(OsStr::new))
    }

    #[test]
    fn a_bare_name_is_looked_up_in_path() {
        let found = command("sh", Some("/nowhere:/bin")).unwrap();
        assert_eq!(found.programs(), [CString::new("/bin/sh").unwrap()]);
        assert_eq!(found.argv(), [CString::new("sh").unwrap()]);
        assert_eq!(found.environment(), [CString::new("A=b").unwrap()]);
    }

    #[test]
    fn what_is_missing_and_what_is_no_program_are_told_apart() {
        assert_eq!(command("sh", Some("/nowhere")).unwrap_err(), CommandError::NotFound { program: "sh".into() });
        let no_program = CommandError::NotExecutable { program: "/etc/passwd".into() };
        assert_eq!(command("/etc/passwd", None).unwrap_err(), no_program);
        assert_eq!(command("", None).unwrap_err(), CommandError::Empty);
        assert_eq!(command("a\0b", None).unwrap_err(), CommandError::NotFound { program: "a\0b".into() });
    }
}
