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
        see: &["gait policy validate", "gait policy explain", "docs/policy.md"],
    },
    Entry {
        path: &["policy", "validate"],
        examples: &[
            example("gait policy validate policy.yaml", "all errors and traps at once, and do its examples hold?"),
            example("gait policy validate policy.yaml --deny-warnings --json", "in CI"),
        ],
        exits: &[("0", "a valid policy"), ("6", "it is not valid, or an example does not hold, or it can't be read")],
        see: &["gait policy fmt", "gait policy explain", "docs/policy.md"],
    },
    Entry {
        path: &["policy", "fmt"],
        examples: &[
            example("gait policy fmt policy.yaml --write", "lays out the file"),
            example("gait policy fmt policy.yaml --check", "in CI: is it laid out?"),
        ],
        exits: &[
            ("0", "done, or nothing to do"),
            ("1", "the file can't be written"),
            ("2", "with --check: the file is not laid out"),
            ("6", "wrong usage, or a file that can't be laid out"),
        ],
        see: &["gait policy validate", "docs/policy.md"],
    },
    Entry {
        path: &["policy", "explain"],
        examples: &[
            example("gait policy explain policy.yaml --intent intent.json", "why this verdict, rule by rule?"),
            example(
                "gait policy explain policy.yaml --action 'fs.write ${workspace}/.git/config'",
                "and about an action of a guarded run",
            ),
        ],
        exits: &[
            ("0", "explained, whatever the verdict"),
            ("6", "wrong usage, or a policy or intent that can't be used"),
        ],
        see: &["gait policy test", "docs/policy.md"],
    },
    Entry {
        path: &["policy", "simulate"],
        examples: &[
            example("gait policy simulate policy.yaml --runs gait-out", "what would it have changed?"),
            example("gait policy simulate policy.yaml --runs gait-out --fail-on-change --json", "in CI"),
        ],
        exits: &[
            ("0", "told, whatever would change"),
            ("2", "with --fail-on-change: something would"),
            ("6", "wrong usage, a policy that can't be used, or no run"),
        ],
        see: &["gait run replay", "docs/policy.md"],
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
