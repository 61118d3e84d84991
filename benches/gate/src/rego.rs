//! The rules in Rego, on the virtual machine of regorus: once as rules, once as data that a few rules look up.

use super::engine::Engine;
use super::world::{self, TOOLS, World, tool_name};
use anyhow::Result;
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::vm::RegoVM;
use regorus::{Engine as Regorus, Value};
use std::fmt::Write as _;

const ENTRY: &str = "data.gate.allow";

/// Decides by a program of the virtual machine.
pub struct Rego {
    name: &'static str,
    machine: RegoVM,
    inputs: Vec<Value>,
}

impl Rego {
    /// Each rule a rule.
    pub fn with_rules(world: &World) -> Result<Self> {
        let mut text = head();
        for rule in &world.exact {
            let (tool, name) = (tool_name(rule.tool), if rule.allows { "permitted" } else { "forbidden" });
            writeln!(text, "{name} if {{ input.tool == \"{tool}\"; input.path == \"{}\" }}", rule.path)?;
        }
        Self::new("regorus, rules as rules", text, None, world)
    }

    /// Exact rules as two maps of tools to paths.
    pub fn with_data(world: &World) -> Result<Self> {
        let mut maps = [serde_json::Map::new(), serde_json::Map::new()];
        for rule in &world.exact {
            let paths =
                maps[usize::from(rule.allows)].entry(tool_name(rule.tool)).or_insert_with(|| serde_json::json!({}));
            paths[&rule.path] = true.into();
        }
        let [forbidden, permitted] = maps;
        let data = serde_json::json!({"exact": {"forbidden": forbidden, "permitted": permitted}});
        let text = head()
            + "permitted if data.exact.permitted[input.tool][input.path]\n\
               forbidden if data.exact.forbidden[input.tool][input.path]\n";
        Self::new("regorus, exact rules as data", text, Some(Value::from_json_str(&data.to_string())?), world)
    }

    fn new(name: &'static str, text: String, data: Option<Value>, world: &World) -> Result<Self> {
        let mut engine = Regorus::new();
        engine.add_policy("gate.rego".to_owned(), text)?;
        let mut machine = RegoVM::new();
        if let Some(data) = data {
            engine.add_data(data.clone())?;
            machine.set_data(data)?;
        }
        let compiled = engine.compile_with_entrypoint(&ENTRY.into())?;
        machine.load_program(Compiler::compile_from_policy(&compiled, &[ENTRY])?);
        let input = |subject: &world::Subject| {
            Value::from_json_str(&serde_json::json!({"tool": subject.tool(), "path": subject.path}).to_string())
        };
        Ok(Self { name, machine, inputs: world.subjects.iter().map(input).collect::<Result<_>>()? })
    }
}

impl Engine for Rego {
    fn name(&self) -> &'static str {
        self.name
    }

    fn allows(&mut self, subject: usize) -> Result<bool> {
        self.machine.set_input(self.inputs[subject].clone());
        Ok(self.machine.execute()? == Value::from(true))
    }
}

/// What both forms share: the last ten rules, and how rules go together.
fn head() -> String {
    let mut text = String::from(
        "package gate\nimport rego.v1\ndefault allow := false\nallow if { permitted; not forbidden }\n\
         is_private if endswith(input.path, \"/.env\")\n",
    );
    for tool in 0..TOOLS {
        let (name, project, shared) = (tool_name(tool), world::project(tool), world::SHARED);
        text += &format!(
            "inside{tool} if startswith(input.path, \"{project}\")\n\
             inside{tool} if startswith(input.path, \"{shared}\")\n\
             private{tool} if startswith(input.path, \"{project}private/\")\n\
             permitted if {{ input.tool == \"{name}\"; inside{tool}; not private{tool}; not is_private }}\n"
        );
    }
    text
}
