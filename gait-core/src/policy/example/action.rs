//! An action of a guarded run in short: `fs.read /etc/passwd`, `fs.write:chmod /x`, `net.connect 127.0.0.1:80`.

use super::super::document::nearest;
use crate::intent::{EndpointClass, IntentRequest, ProvenanceRequest, TargetKind, TargetRequest};

/// The tools of a guarded run but `sys.*`, with what each does to its target; the first is meant where an
/// action names none.
const TOOLS: &[(&str, &[&str])] = &[
    ("fs.read", &["read"]),
    ("fs.list", &["list", "watch"]),
    (
        "fs.write",
        &[
            "write",
            "create",
            "truncate",
            "mkdir",
            "mknod",
            "symlink",
            "link",
            "rename",
            "chmod",
            "chown",
            "utimes",
            "setxattr",
            "removexattr",
        ],
    ),
    ("fs.delete", &["delete", "rmdir", "rename"]),
    ("proc.exec", &["exec"]),
    ("net.connect", &["connect"]),
    ("net.send", &["send"]),
    ("net.bind", &["bind"]),
    ("net.unix", &["connect", "send", "bind"]),
];

/// An action as the guard names it: one tool, one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    tool: String,
    operation: String,
    kind: TargetKind,
    class: EndpointClass,
    value: String,
    domain: String,
}

/// Why a text is no action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActionError {
    /// There is no target.
    #[error("`{text}` is no action: expected a tool and a target, as in `fs.read /etc/passwd`")]
    NoTarget {
        /// What was given.
        text: String,
    },
    /// A guard has no such tool.
    #[error("a guarded run has no tool `{tool}`{}", did_you_mean(*.meant))]
    Tool {
        /// What was given.
        tool: String,
        /// What was perhaps meant.
        meant: Option<&'static str>,
    },
    /// The tool does no such thing.
    #[error("`{tool}` has no operation `{operation}`, only {known}")]
    Operation {
        /// The tool.
        tool: String,
        /// What was given.
        operation: String,
        /// What it does.
        known: String,
    },
    /// The target is not what the tool acts on.
    #[error("`{value}` is no target of `{tool}`: expected {expected}")]
    Target {
        /// The tool.
        tool: String,
        /// What was given.
        value: String,
        /// What a target is.
        expected: &'static str,
    },
}

fn did_you_mean(meant: Option<&str>) -> String {
    meant.map(|meant| format!(", did you mean `{meant}`?")).unwrap_or_default()
}

impl Action {
    /// Reads `tool target` or `tool:operation target`.
    ///
    /// # Errors
    /// [`ActionError`] for what no guarded run can record.
    pub fn parse(text: &str) -> Result<Self, ActionError> {
        let (head, value) = text.trim().split_once(' ').map_or((text.trim(), ""), |(head, rest)| (head, rest.trim()));
        if value.is_empty() {
            return Err(ActionError::NoTarget { text: text.trim().to_owned() });
        }
        let (tool, operation) = head.split_once(':').map_or((head, None), |(tool, word)| (tool, Some(word)));
        if let Some(name) = tool.strip_prefix("sys.").filter(|name| !name.is_empty()) {
            return Ok(Self::of(tool, operation.unwrap_or(name), TargetKind::Other, EndpointClass::Other, value));
        }
        let Some((tool, operations)) = TOOLS.iter().find(|(known, _)| *known == tool) else {
            let known: Vec<&str> = TOOLS.iter().map(|(known, _)| *known).collect();
            return Err(ActionError::Tool { tool: tool.to_owned(), meant: nearest(tool, &known) });
        };
        let operation = operation.unwrap_or(operations[0]);
        if !operations.contains(&operation) {
            let known = operations.join(", ");
            return Err(ActionError::Operation { tool: (*tool).to_owned(), operation: operation.to_owned(), known });
        }
        Self::with_target(tool, operation, value)
    }

    fn of(tool: &str, operation: &str, kind: TargetKind, class: EndpointClass, value: &str) -> Self {
        Self {
            tool: tool.to_owned(),
            operation: operation.to_owned(),
            kind,
            class,
            value: value.to_owned(),
            domain: String::new(),
        }
    }

    fn with_target(tool: &str, operation: &str, value: &str) -> Result<Self, ActionError> {
        let is_path = value.starts_with('/');
        let refuse = |expected| ActionError::Target { tool: tool.to_owned(), value: value.to_owned(), expected };
        let of_path = |class, other: &str, expected| match is_path {
            true => Ok(Self::of(tool, operation, TargetKind::Path, class, value)),
            false if value.starts_with(other) => Ok(Self::of(tool, operation, TargetKind::Other, class, value)),
            false => Err(refuse(expected)),
        };
        match tool {
            "fs.read" | "fs.list" => of_path(EndpointClass::FsRead, "unresolved:", "an absolute path"),
            "fs.write" => of_path(EndpointClass::FsWrite, "unresolved:", "an absolute path"),
            "fs.delete" => of_path(EndpointClass::FsDelete, "unresolved:", "an absolute path"),
            "proc.exec" => of_path(EndpointClass::ProcExec, "memfd:", "an absolute path, or memfd:<name>"),
            "net.unix" if is_path => Ok(Self::of(tool, operation, TargetKind::Path, EndpointClass::FsWrite, value)),
            "net.unix" if value.starts_with("unix:") => {
                Ok(Self::of(tool, operation, TargetKind::Other, EndpointClass::Other, value))
            }
            "net.unix" => Err(refuse("an absolute path, unix:@<name> or unix:unnamed")),
            _ => {
                const EXPECTED: &str = "host:port, an IPv6 address in brackets";
                let (host, port) = value.rsplit_once(':').ok_or_else(|| refuse(EXPECTED))?;
                let port: u16 = port.parse().map_err(|_| refuse(EXPECTED))?;
                let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
                if bare.is_empty() || (bare.contains(':') && bare.len() == host.len()) {
                    return Err(refuse(EXPECTED));
                }
                let class = if port == 53 { EndpointClass::NetDns } else { EndpointClass::NetHttp };
                Ok(Self { domain: bare.to_owned(), ..Self::of(tool, operation, TargetKind::Host, class, value) })
            }
        }
    }

    /// The request that a guard would make of it, but for its context and arguments, which a policy does not see.
    pub fn request(&self) -> IntentRequest {
        IntentRequest {
            tool_name: self.tool.clone(),
            targets: vec![TargetRequest {
                kind: self.kind.to_string(),
                value: self.value.clone(),
                operation: self.operation.clone(),
                endpoint_class: self.class.to_string(),
                endpoint_domain: self.domain.clone(),
                ..TargetRequest::default()
            }],
            arg_provenance: vec![ProvenanceRequest {
                arg_path: "$".to_owned(),
                source: "system".to_owned(),
                ..ProvenanceRequest::default()
            }],
            ..IntentRequest::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_read_as_the_contract_names_them() {
        // guarded-run 2.2.
        for (text, tool, kind, operation, class, domain) in [
            ("fs.read /etc/passwd", "fs.read", "path", "read", "fs.read", ""),
            ("fs.list:watch /", "fs.list", "path", "watch", "fs.read", ""),
            ("fs.write:chmod /a b", "fs.write", "path", "chmod", "fs.write", ""),
            ("fs.delete:rename /a", "fs.delete", "path", "rename", "fs.delete", ""),
            ("fs.read unresolved:unreadable", "fs.read", "other", "read", "fs.read", ""),
            ("proc.exec memfd:x", "proc.exec", "other", "exec", "proc.exec", ""),
            ("net.connect [::1]:443", "net.connect", "host", "connect", "net.http", "::1"),
            ("net.send 127.0.0.53:53", "net.send", "host", "send", "net.dns", "127.0.0.53"),
            ("net.unix /run/x.sock", "net.unix", "path", "connect", "fs.write", ""),
            ("net.unix:bind unix:@x", "net.unix", "other", "bind", "other", ""),
            ("sys.ptrace process:own", "sys.ptrace", "other", "ptrace", "other", ""),
        ] {
            let request = Action::parse(text).unwrap().request();
            let target = &request.targets[0];
            assert_eq!(request.tool_name, tool, "{text}");
            assert_eq!(
                (&*target.kind, &*target.operation, &*target.endpoint_class, &*target.endpoint_domain),
                (kind, operation, class, domain),
                "{text}"
            );
        }
    }

    #[test]
    fn what_no_run_can_record_is_refused_with_what_was_expected() {
        for (text, words) in [
            ("fs.read", "`fs.read` is no action: expected a tool and a target"),
            ("fs.raed /x", "a guarded run has no tool `fs.raed`, did you mean `fs.read`?"),
            ("fs.write:burn /x", "`fs.write` has no operation `burn`, only write, create"),
            ("fs.read etc/passwd", "`etc/passwd` is no target of `fs.read`: expected an absolute path"),
            ("net.connect localhost", "`localhost` is no target of `net.connect`: expected host:port"),
            ("net.connect ::1:80", "`::1:80` is no target of `net.connect`: expected host:port"),
            ("net.unix x", "`x` is no target of `net.unix`: expected an absolute path, unix:@"),
        ] {
            let error = Action::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(words), "{error}");
        }
    }
}
