//! What came out of a guest: a line for each test, and whether it got to its end.

use serde::Deserialize;

/// Lines of the console that are shown of a guest that failed.
const TAIL: usize = 60;

/// One line of `GAIT_SUITE_REPORT`, as far as tasks look at it.
#[derive(Clone, Debug, Deserialize)]
pub struct Line {
    /// Which suite.
    pub suite: String,
    /// The test's name.
    pub name: String,
    /// `passed`, `failed`, `skipped`
    pub result: String,
    /// Why it failed or was skipped.
    #[serde(default)]
    pub reason: String,
    /// Ids of the escape corpus.
    #[serde(default)]
    pub ids: Vec<String>,
    /// What denied the attack.
    #[serde(default)]
    pub denied_by: Vec<String>,
    /// What else should be known.
    #[serde(default)]
    pub notes: Vec<String>,
    /// `native` and the engine asked for, or the name of a guest.
    #[serde(default)]
    pub guest: String,
    /// The kernel's release.
    #[serde(default)]
    pub kernel: String,
    /// Its security modules.
    #[serde(default)]
    pub lsm: String,
    /// Who enforced; empty if nothing ran.
    #[serde(default)]
    pub engine: String,
}

/// Sums, and why.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// All tests that said something.
    pub lines: Vec<Line>,
    /// What went wrong besides tests.
    pub broken: Vec<String>,
    /// The end of the console, of a guest in which something went wrong.
    pub tail: String,
}

impl Results {
    /// So many tests ended in `result`; a guest that broke counts as one that failed for each reason.
    pub fn count(&self, result: &str) -> usize {
        let tests = self.lines.iter().filter(|line| line.result == result).count();
        if result == "failed" { tests + self.broken.len() } else { tests }
    }

    /// Whether anything failed.
    pub fn is_failed(&self) -> bool {
        self.count("failed") > 0
    }

    /// Adds what went wrong with the guest itself.
    pub fn fail(&mut self, why: String) {
        self.broken.push(why);
    }
}

/// Reads a report and a console; each of `suites` must have ended, with the exit code that its tests give it, on a
/// kernel that has just the modules of `lsm`.
pub fn read(report: &str, console: &str, suites: &[&str], lsm: &str) -> Results {
    let mut results = Results::default();
    for line in report.lines().filter(|line| !line.is_empty()) {
        match serde_json::from_str(line) {
            Ok(line) => results.lines.push(line),
            Err(error) => results.fail(format!("the report holds `{line}`: {error}")),
        }
    }
    let told: Vec<&str> = console.lines().filter_map(|line| line.trim().strip_prefix("guest: ")).collect();
    for suite in suites {
        let code = told.iter().find_map(|line| line.strip_prefix(&format!("ended {suite} ")));
        let of_suite = results.lines.iter().filter(|line| line.suite == *suite);
        let failed = of_suite.filter(|line| line.result == "failed").count();
        match code {
            None => results.fail(format!("{suite} did not end")),
            Some("0") if failed == 0 => {}
            Some("1") if failed > 0 => {}
            Some(code) => results.fail(format!("{suite} ended with {code}, {failed} of its tests failed")),
        }
    }
    if !told.contains(&"done") {
        results.fail("the guest did not get to its end".to_owned());
    }
    let modules = told.iter().find_map(|line| line.strip_prefix("lsm ")).unwrap_or_default();
    if !has_just(modules, lsm) {
        results.fail(format!("booted with lsm={lsm}, but the kernel has `{modules}`"));
    }
    if results.is_failed() {
        let lines: Vec<&str> = console.lines().collect();
        results.tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
    }
    results
}

/// Whether `/sys/kernel/security/lsm` says what was asked for. `capability` and friends can't be left out.
fn has_just(present: &str, asked: &str) -> bool {
    let always = ["capability", "integrity", "ima", "evm"];
    let mut present: Vec<&str> = present.split(',').filter(|name| !always.contains(name)).collect();
    let mut asked: Vec<&str> = asked.split(',').collect();
    present.sort_unstable();
    asked.sort_unstable();
    present == asked
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "guest: lsm capability,landlock,bpf\nguest: ended escape 0\nguest: done\n";
    const PASSED: &str = "{\"suite\":\"escape\",\"name\":\"a\",\"result\":\"passed\"}\n";

    #[test]
    fn a_guest_that_got_to_its_end_is_its_tests() {
        let results = read(PASSED, GOOD, &["escape"], "landlock,bpf");
        assert_eq!((results.count("passed"), results.count("failed")), (1, 0), "{:?}", results.broken);
    }

    #[test]
    fn a_guest_that_died_is_a_failure_with_its_last_words() {
        let console = "guest: lsm capability,landlock,bpf\nKernel panic\n";
        let results = read(PASSED, console, &["escape"], "landlock,bpf");
        assert_eq!(results.count("failed"), 2, "{:?}", results.broken);
        assert!(results.tail.ends_with("Kernel panic"));
    }

    #[test]
    fn an_exit_code_that_no_test_explains_is_a_failure() {
        let console = GOOD.replace("escape 0", "escape 139");
        assert!(read(PASSED, &console, &["escape"], "landlock,bpf").is_failed());
        let failed = PASSED.replace("passed", "failed");
        assert!(read(&failed, GOOD, &["escape"], "landlock,bpf").count("failed") == 2, "exit code 0 with a failure");
    }

    #[test]
    fn a_kernel_that_ignored_its_boot_line_is_a_failure() {
        assert!(read(PASSED, GOOD, &["escape"], "landlock").is_failed());
        assert!(read(PASSED, GOOD, &["escape"], "landlock,bpf,yama").is_failed());
    }

    #[test]
    fn half_a_line_of_a_report_is_a_failure() {
        let results = read("{\"suite\":\"esc", GOOD, &["escape"], "landlock,bpf");
        assert!(results.broken.iter().any(|why| why.contains("the report holds")));
    }
}
