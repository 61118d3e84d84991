//! `gait mcp bridge`: another name of `gait mcp proxy`.

use super::{Verb, mcp_proxy};

pub static VERB: Verb = mcp_proxy::called(&["mcp", "bridge"]);
