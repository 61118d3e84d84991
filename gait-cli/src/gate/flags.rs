//! Flags of every boundary at which rules may demand more than a verdict.

use super::rate_limits;
use crate::flags::Flag;

/// `--approval-token`.
pub const APPROVAL_TOKEN: Flag = Flag::value("approval-token", "<token.json>", "an approval, as gait approve makes it");

/// `--approval-token-chain`.
pub const APPROVAL_TOKEN_CHAIN: Flag = Flag::value("approval-token-chain", "<csv>", "more approvals");

/// Where the key comes from that approvals are signed with.
pub const APPROVAL_KEYS: [Flag; 4] = [
    Flag::value("approval-public-key", "<path>", "file with the key that approvals are signed with")
        .or_next()
        .on_page(),
    Flag::value("approval-public-key-env", "<VAR>", "environment variable with that key").on_page(),
    Flag::value("approval-private-key", "<path>", "private key whose public half verifies approvals").hidden(),
    Flag::value("approval-private-key-env", "<VAR>", "environment variable with that private key").hidden(),
];

/// `--rate-limit-state`.
pub const RATE_LIMIT_STATE: Flag =
    Flag::value("rate-limit-state", "state.json", "where calls are counted; empty: nowhere")
        .default(rate_limits::DEFAULT_STATE)
        .on_page();

/// Who issues credentials, and what is asked for.
pub const BROKER: [Flag; 6] = [
    Flag::value("credential-broker", "off|stub|env|command", "who issues credentials").default("off"),
    Flag::value("credential-env-prefix", "GAIT_BROKER_TOKEN_", "what variables of the env broker start with").on_page(),
    Flag::value("credential-command", "<path>", "the program of the command broker"),
    Flag::value("credential-command-args", "csv", "its arguments").on_page(),
    Flag::value("credential-ref", "ref", "ask for this instead of what the rule says").on_page(),
    Flag::value("credential-scopes", "csv", "scopes to ask for besides those of the rule").on_page(),
];
