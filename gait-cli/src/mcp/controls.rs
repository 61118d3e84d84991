//! What a session has for rules that demand more than a verdict: the counters, approvals and brokers of `gate eval`.

use crate::clock;
use crate::failure::Failure;
use crate::flags::Args;
use crate::gate::approvals::{assess_remembered, key_ring, read_token, token_paths};
use crate::gate::broker::{self, Broker};
use crate::gate::rate_limits;
use gait_core::approval::{ApprovalToken, Assessment, Demand, KeyRing, TokenUses, assess};
use gait_core::broker::{CredentialRequest, Wanted};
use gait_core::gate::{CredentialRefusal, Profile};
use gait_core::intent::{Intent, IntentRequest};
use gait_core::mcp::judge::{ApprovalAsked, ControlFault, Controls, Issued};
use gait_core::policy::{RateLimit, Rule};
use gait_core::rate_limit::{State, Step};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The controls that the flags name.
#[derive(Debug)]
pub struct SessionControls {
    /// Where calls are counted; empty for `counted` alone.
    rate_limit_state: OsString,
    counted: State,
    approvals: Option<Approvals>,
    broker: Broker,
    wanted: Wanted,
}

/// Whose approvals count, and where they are found.
#[derive(Debug)]
struct Approvals {
    ring: KeyRing,
    paths: Vec<PathBuf>,
    /// Remembers used tokens beyond the session.
    single_use: Option<PathBuf>,
    /// Those used in this session. A session is many decisions, so here a token counts once in any case.
    used: TokenUses,
}

impl SessionControls {
    /// The controls that the flags name.
    ///
    /// # Errors
    /// Keys and brokers that can't be used, and approvals without a key to verify them with: exit 6.
    pub fn of(args: &Args) -> Result<Self, Failure> {
        let paths: Vec<PathBuf> = token_paths(args).into_iter().map(PathBuf::from).collect();
        let approvals = match key_ring(args, Profile::Standard)? {
            Some(ring) => {
                let single_use = args.raw("approval-single-use").filter(|path| !path.is_empty()).map(PathBuf::from);
                Some(Approvals { ring, paths, single_use, used: TokenUses::default() })
            }
            None if paths.is_empty() => None,
            // The key that signs traces lies where the server can read it: it must not approve what the server does.
            None => {
                return Err(Failure::invalid("--approval-token needs a key that approvals are verified with")
                    .with_hint("add --approval-public-key <path> or --approver-key <path>"));
            }
        };
        let rate_limit_state = rate_limits::state_path(args).to_owned();
        let (broker, wanted) = (Broker::of(args)?, broker::wanted(args));
        Ok(Self { rate_limit_state, counted: State::default(), approvals, broker, wanted })
    }
}

impl Controls for SessionControls {
    fn count(&mut self, limit: &RateLimit, intent: &Intent) -> Result<Step, ControlFault> {
        rate_limits::count_in(&self.rate_limit_state, &mut self.counted, limit, intent)
            .map_err(|failure| ControlFault { code: "rate_limit_not_counted", why: failure.message })
    }

    fn approvals(&mut self, asked: &ApprovalAsked<'_>) -> Result<Option<Assessment>, ControlFault> {
        let found = self.approvals.as_mut().map(|approvals| approvals.assess(asked)).transpose();
        found.map_err(|failure| ControlFault { code: "approval_token_invalid", why: failure.message })
    }

    fn credential(&mut self, rule: &Rule, request: &IntentRequest) -> Result<Issued, CredentialRefusal> {
        let credential = self.broker.issue(&CredentialRequest::new(request, rule, &self.wanted))?;
        Ok(Issued { credential, reference: self.wanted.reference(rule), scope: self.wanted.scope(rule) })
    }
}

impl Approvals {
    /// Tokens are read anew for each call: they are made while the session goes on. One that is not there yet is none.
    fn tokens(&self) -> Result<Vec<ApprovalToken>, Failure> {
        self.paths.iter().filter(|path| path.exists()).map(|path| read_token(path)).collect()
    }

    fn assess(&mut self, asked: &ApprovalAsked<'_>) -> Result<Assessment, Failure> {
        let demand = Demand {
            intent_digest: asked.intent_digest,
            policy_digest: asked.policy_digest,
            tool_name: asked.tool_name,
            required: asked.required,
            require_distinct: asked.require_distinct,
            now: clock::now(),
        };
        let tokens = self.tokens()?;
        let found = match self.single_use.as_deref() {
            Some(state) => assess_remembered(Path::new(state), &tokens, &self.ring, &self.used, &demand, true)?,
            None => assess(&tokens, &self.ring, &self.used, &demand),
        };
        if found.granted {
            self.used.remember(&found.uses, &demand.now);
        }
        Ok(found)
    }
}
