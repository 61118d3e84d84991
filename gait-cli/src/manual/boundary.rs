//! The boundary, its policy, its keys, and the program itself.

use super::{Entry, example};

pub(super) static ENTRIES: &[Entry] = &[
    Entry {
        path: &["exec"],
        examples: &[
            example("gait exec -- ./agent.sh", "under the built-in policy"),
            example("gait exec --policy my.yaml --fail-on-block --timeout 10m -- python3 agent.py", "in CI"),
            example("gait exec --simulate -- ./agent.sh", "what would be blocked?"),
        ],
        exits: &[
            ("the agent's", "its own exit code; 128 + n if signal n ended it"),
            ("0", "as the agent's"),
            ("1", "the guard failed; the agent was ended"),
            ("3", "with --fail-on-block: something was blocked"),
            ("6", "the run can't be started as asked"),
            ("7", "this machine lacks a layer"),
        ],
        see: &["gait doctor", "gait verify", "gait run seal", "docs/policy.md", "docs/limits.md"],
    },
    Entry {
        path: &["doctor"],
        examples: &[
            example("gait doctor", "what this machine has, and what each missing layer costs"),
            example("gait doctor --key-mode prod --private-key signing.key --json", "before a key goes to CI"),
        ],
        exits: &[
            ("0", "nothing that can't be fixed"),
            ("6", "wrong usage"),
            ("7", "this machine lacks something that every run needs"),
        ],
        see: &["gait exec", "gait keys init", "gait doctor adoption"],
    },
    Entry {
        path: &["doctor", "adoption"],
        examples: &[example(
            "gait doctor adoption --from events.jsonl",
            "which first steps were taken, which are left",
        )],
        exits: &[("0", "reported, whatever is left to do"), ("6", "wrong usage, or a log that can't be read")],
        see: &["gait demo", "gait regress run"],
    },
    Entry {
        path: &["policy", "test"],
        examples: &[example(
            "gait policy test policy.yaml intent.json",
            "what does this policy say about this intent?",
        )],
        exits: &[
            ("0", "allow, or dry_run"),
            ("3", "block"),
            ("4", "require_approval"),
            ("6", "wrong usage, or a policy or intent that can't be used"),
        ],
        see: &["gait exec", "docs/policy.md"],
    },
    Entry {
        path: &["trace", "verify"],
        examples: &[example("gait trace verify trace.json --public-key signer.pub", "did this key sign this trace?")],
        exits: &[
            ("0", "the signature holds"),
            ("2", "there is none, or it does not hold"),
            ("6", "wrong usage, no key, or a file that can't be read"),
        ],
        see: &["gait verify chain", "gait keys export-public"],
    },
    Entry {
        path: &["keys", "init"],
        examples: &[example("gait keys init", "makes the key of this machine, once")],
        exits: &[("0", "the key is there"), ("1", "it can't be written"), ("6", "wrong usage, or it can't be used")],
        see: &["gait keys export-public", "gait run record", "gait verify"],
    },
    Entry {
        path: &["keys", "show"],
        examples: &[example("gait keys show", "the id and public half of the key of this machine")],
        exits: &[("0", "shown"), ("6", "wrong usage, no key, or one that can't be used")],
        see: &["gait keys init", "gait keys export-public"],
    },
    Entry {
        path: &["keys", "export-public"],
        examples: &[
            example("gait keys export-public --out signer.pub", "for those who verify elsewhere"),
            example("gait keys export-public --private-key signing.key --out signer.pub", "of a key in a file"),
        ],
        exits: &[
            ("0", "printed or written"),
            ("1", "the file can't be written"),
            ("6", "wrong usage, no key, or one that can't be used"),
        ],
        see: &["gait keys init", "gait verify"],
    },
    Entry {
        path: &["completions"],
        examples: &[
            example("gait completions bash > ~/.local/share/bash-completion/completions/gait", "for bash"),
            example("gait completions zsh > ~/.zfunc/_gait", "for zsh, with ~/.zfunc in fpath"),
            example("gait completions fish > ~/.config/fish/completions/gait.fish", "for fish"),
        ],
        exits: &[("0", "printed"), ("6", "wrong usage, or a shell that there is no script for")],
        see: &["gait man"],
    },
    Entry {
        path: &["man"],
        examples: &[
            example("gait man | man -l -", "reads gait(1)"),
            example("gait man run diff | man -l -", "reads the page of one command"),
            example("gait man --out-dir ~/.local/share/man/man1", "writes all pages"),
        ],
        exits: &[("0", "printed or written"), ("1", "a page can't be written"), ("6", "wrong usage, or no such page")],
        see: &["gait completions", "docs/cli.md"],
    },
];
