//! Decisions at a tool boundary, and the approvals they need.

use super::{Entry, example};

pub(super) static ENTRIES: &[Entry] = &[
    Entry {
        path: &["gate", "eval"],
        examples: &[
            example("gait gate eval --policy policy.yaml --intent intent.json", "may this call go on?"),
            example(
                "gait gate eval --policy policy.yaml --intent intent.json --simulate",
                "what would be blocked? Nothing is enforced",
            ),
            example(
                "gait gate eval --policy policy.yaml --intent intent.json --approver-key kim=kim.pub --approver-key \
                 lee=lee.pub --approval-token-chain kim.json,lee.json",
                "with the approvals of two people who have a key each",
            ),
            example(
                "gait gate eval --policy policy.yaml --intent intent.json --profile oss-prod --key-mode prod --private-key \
                 signing.key --approval-public-key approver.pub --credential-broker env",
                "as in production",
            ),
        ],
        exits: &[
            ("0", "decided: go on only where the verdict is allow; a block ends with 0 too"),
            ("1", "a record can't be written, or the rate limit state is held by others"),
            ("3", "with --exit-on-block: block"),
            ("4", "approvals are needed and not there"),
            ("6", "wrong usage, or a policy, intent, token or key that can't be used"),
        ],
        see: &["gait approve", "gait policy test", "gait trace verify", "docs/gate.md"],
    },
    Entry {
        path: &["approve"],
        examples: &[example(
            "gait approve --intent-digest 8d26786e78884f230bfa85f4909203158ab8ee8d1594552d44683022f3648cde \
             --policy-digest c3e6fd1b5456c9fa99d36adaa9e7af947396269a1dedf4cc990147480dfcda34 --ttl 30m --scope \
             tool:tool.write --approver kim --reason-code CHANGE-7 --key-mode prod --private-key kim.key --out kim.json",
            "lets this one call of tool.write through for half an hour",
        )],
        exits: &[
            ("0", "the token is written"),
            ("1", "it can't be written"),
            ("6", "wrong usage, or a key that can't be used"),
        ],
        see: &["gait gate eval", "docs/gate.md"],
    },
    Entry {
        path: &["keys", "rotate"],
        examples: &[example("gait keys rotate", "a new key signs from now on; the old one is kept for what it signed")],
        exits: &[("0", "replaced"), ("1", "it can't be written"), ("6", "there is no key, or it can't be used")],
        see: &["gait keys init", "gait keys show", "gait verify"],
    },
];
