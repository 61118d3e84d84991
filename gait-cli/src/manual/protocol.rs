//! Tool calls of other protocols.

use super::{Entry, example};

const JUDGED: &[(&str, &str)] = &[
    ("0", "the verdict is allow or dry_run"),
    ("1", "a file could not be written"),
    ("3", "the verdict is block"),
    ("4", "the verdict is require_approval"),
    ("6", "wrong usage, or a call, policy or key that can't be used"),
];

pub(super) static ENTRIES: &[Entry] = &[
    Entry {
        path: &["mcp", "proxy"],
        examples: &[
            example(
                "gait mcp proxy policy.yaml call.json",
                "a verdict, and a trace signed with a key that is thrown away",
            ),
            example(
                "gait mcp proxy --policy policy.yaml --call - --adapter openai --json",
                "a call as the OpenAI interface has it, from standard input",
            ),
            example(
                "gait mcp proxy --policy policy.yaml --call call.json --runpack-out run.zip --export-log-out log.jsonl",
                "with a runpack of the call, and a line in a log",
            ),
        ],
        exits: JUDGED,
        see: &["gait mcp serve", "gait trace verify", "docs/mcp.md"],
    },
    Entry {
        path: &["mcp", "bridge"],
        examples: &[example("gait mcp bridge policy.yaml call.json", "the same as gait mcp proxy")],
        exits: JUDGED,
        see: &["gait mcp proxy", "docs/mcp.md"],
    },
    Entry {
        path: &["mcp", "serve"],
        examples: &[
            example(
                "gait mcp serve --policy policy.yaml -- npx -y @modelcontextprotocol/server-filesystem /srv/data",
                "what a client starts in place of the server",
            ),
            example(
                "gait mcp serve --policy policy.yaml --targets write_file:path=path:write -- ./server",
                "with the path that write_file is called with as a target, for path rules of the policy",
            ),
            example(
                "gait mcp serve --policy policy.yaml --out-dir /var/log/gait --capture-mode raw -- ./server",
                "arguments and answers are recorded too",
            ),
        ],
        exits: &[
            ("0", "the client ended the session, or a signal did"),
            ("1", "the server ended first, or something could not be recorded"),
            ("3", "with --fail-on-block: a call was refused"),
            ("6", "wrong usage, a policy or key that can't be used, or a server that can't be started"),
        ],
        see: &["gait mcp proxy", "gait verify", "docs/mcp.md", "docs/policy.md"],
    },
];
