//! A headless Chromium with one page, driven over its DevTools pipe: real mouse and keyboard events, and what the page
//! then shows.
//!
//! The protocol (DevTools, `--remote-debugging-pipe`): JSON objects ended by NUL, commands on descriptor 3, answers and
//! events on descriptor 4.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::run;

/// The program, as Debian and most others name it.
pub const PROGRAM: &str = "chromium";

/// No answer takes longer, on a machine that does other things too.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Swaps the standard descriptors for those of the pipe. Only what comes after it knows the words of the browser.
const ON_PIPE: &str = "exec \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null";

/// A browser with one page. Ends with its owner.
pub struct Browser {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<Value>,
    last_id: u64,
    session: Option<String>,
    events: Vec<Value>,
    log: PathBuf,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser with an empty page.
    ///
    /// # Errors
    /// It does not start or does not answer.
    pub fn start() -> anyhow::Result<Self> {
        let profile = tempfile::Builder::new().prefix("gait-browser-").tempdir()?;
        let log = profile.path().join("log");
        let mut command = run::command("/bin/sh", profile.path(), profile.path());
        command.args(["-c", ON_PIPE, "sh", PROGRAM, "--headless", "--remote-debugging-pipe", "--disable-gpu"]);
        // The page under test is ours; its sandbox does not start as root or in most containers.
        command.args(["--no-sandbox", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking"]);
        command.arg(format!("--user-data-dir={}", profile.path().join("profile").display()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(fs::File::create(&log)?);
        let mut child = command.spawn().context("start the browser")?;
        let commands = child.stdin.take().context("no descriptor for commands")?;
        let mut answers = BufReader::new(child.stdout.take().context("no descriptor for answers")?);
        let (send, receive) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while answers.read_until(0, &mut message).is_ok_and(|length| length > 0) {
                let value = serde_json::from_slice(message.strip_suffix(&[0]).unwrap_or(&message));
                if send.send(value.unwrap_or(Value::Null)).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let mut browser = Self {
            child,
            commands,
            answers: receive,
            last_id: 0,
            session: None,
            events: Vec::new(),
            log,
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", attach)?;
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        ["Page.enable", "Runtime.enable", "Log.enable", "Network.enable"]
            .into_iter()
            .try_for_each(|domain| browser.call(domain, json!({})).map(drop))?;
        Ok(browser)
    }

    /// Opens a file and waits until it is loaded. Events from before are forgotten.
    ///
    /// # Errors
    /// It is not there, or the browser is gone.
    pub fn open(&mut self, page: &Path) -> anyhow::Result<()> {
        self.events.clear();
        let answer = self.call("Page.navigate", json!({"url": format!("file://{}", page.display())}))?;
        ensure!(answer["errorText"].is_null(), "{page:?}: {answer}");
        let start = Instant::now();
        while !self.has_event("Page.loadEventFired") {
            let event = self.answers.recv_timeout(TIME_LIMIT.saturating_sub(start.elapsed()));
            self.events.push(event.with_context(|| format!("{page:?} is not loaded; {}", self.said()))?);
        }
        Ok(())
    }

    /// What the page gives for an expression.
    ///
    /// # Errors
    /// It throws, or the browser is gone.
    pub fn ask(&mut self, expression: &str) -> anyhow::Result<Value> {
        let answer = self.call("Runtime.evaluate", json!({"expression": expression, "returnByValue": true}))?;
        ensure!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        Ok(answer["result"]["value"].clone())
    }

    /// Clicks with the mouse in the middle of the element that a selector finds.
    ///
    /// # Errors
    /// There is no such element, it is not seen, or something else lies over it.
    pub fn click(&mut self, selector: &str) -> anyhow::Result<()> {
        let found = self.ask(&format!(
            "(function () {{ var e = document.querySelector({}); if (!e) {{ return null; }} \
             e.scrollIntoView({{block: 'center'}}); var r = e.getBoundingClientRect(); \
             var x = r.x + r.width / 2, y = r.y + r.height / 2; var top = document.elementFromPoint(x, y); \
             return r.width > 0 && (e === top || e.contains(top)) ? [x, y] : null; }}())",
            json!(selector)
        ))?;
        let (Some(x), Some(y)) = (found[0].as_f64(), found[1].as_f64()) else {
            bail!("nothing to click at `{selector}`")
        };
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event)?;
        }
        Ok(())
    }

    /// Types text, key by key, to where the last click was.
    ///
    /// # Errors
    /// The browser is gone.
    pub fn type_text(&mut self, text: &str) -> anyhow::Result<()> {
        for key in text.chars().map(String::from) {
            self.call("Input.dispatchKeyEvent", json!({"type": "keyDown", "text": key, "key": key}))?;
            self.call("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key}))?;
        }
        Ok(())
    }

    /// Makes the window so wide.
    ///
    /// # Errors
    /// The browser is gone.
    pub fn resize(&mut self, width: u32) -> anyhow::Result<()> {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size).map(drop)
    }

    /// Whether pages may run their scripts.
    ///
    /// # Errors
    /// The browser is gone.
    pub fn allow_scripts(&mut self, allow: bool) -> anyhow::Result<()> {
        self.call("Emulation.setScriptExecutionDisabled", json!({"value": !allow})).map(drop)
    }

    /// What was asked of the network or the disk since the last [`Browser::open`].
    pub fn requests(&self) -> Vec<String> {
        let sent = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.map(|event| event["params"]["request"]["url"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Errors, refusals, messages and dialogs since the last [`Browser::open`].
    pub fn complaints(&self) -> Vec<String> {
        let loud =
            ["Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Page.javascriptDialogOpening"];
        let heard = self.events.iter().filter(|event| loud.iter().any(|method| event["method"] == *method));
        heard.map(|event| event["params"].to_string()).collect()
    }

    fn has_event(&self, method: &str) -> bool {
        self.events.iter().any(|event| event["method"] == method)
    }

    fn call(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        self.last_id += 1;
        let id = self.last_id;
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let sent = self.commands.write_all(format!("{message}\0").as_bytes()).and_then(|()| self.commands.flush());
        sent.with_context(|| format!("{method}: the browser does not listen; {}", self.said()))?;
        let start = Instant::now();
        loop {
            let answer = self.answers.recv_timeout(TIME_LIMIT.saturating_sub(start.elapsed()));
            let answer = answer.with_context(|| format!("{method}: no answer; {}", self.said()))?;
            if answer["id"] == id {
                ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return Ok(answer["result"].clone());
            }
            self.events.push(answer);
        }
    }

    fn said(&self) -> String {
        format!("it said: {}", fs::read_to_string(&self.log).unwrap_or_default())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends its own processes when told to; if it does not, it is killed. Nobody is left to be told of errors.
        self.session = None;
        let _ = self.call("Browser.close", json!({}));
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
