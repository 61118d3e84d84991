//! The schemas of the repository, compiled without any fetching.

use jsonschema::{Draft, Registry, Validator};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where the schemas are registered; nothing can be fetched from there.
const BASE: &str = "gait:/schemas/v1/";
/// Referred to by the others.
const COMMON: &str = "common";

/// All schemas by name, e.g. `runpack/manifest`.
pub struct Schemas {
    schemas: BTreeMap<String, Value>,
    validators: BTreeMap<String, Validator>,
}

/// The folder of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Says so on standard error itself: what `eprintln` says in a test that passes is held back.
pub fn skipped(test: &str, why: &str) {
    std::io::stderr().write_all(format!("skipped {test}: {why}\n").as_bytes()).unwrap();
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}

/// Every file below `folder`, sorted.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(folder, &mut found);
    found.sort();
    found
}

fn read(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap();
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Schemas {
    /// The schemas as they are in the repository.
    pub fn get() -> &'static Self {
        static SCHEMAS: OnceLock<Schemas> = OnceLock::new();
        SCHEMAS.get_or_init(Self::load)
    }

    fn load() -> Self {
        let folder = root().join("schemas/v1");
        let mut schemas = BTreeMap::new();
        let mut registry = Registry::new().draft(Draft::Draft202012);
        for path in files(&folder) {
            let relative = path.strip_prefix(&folder).unwrap().to_str().unwrap();
            let Some(name) = relative.strip_suffix(".schema.json") else { continue };
            let schema = read(&path);
            registry = registry.add(format!("{BASE}{relative}"), schema.clone()).unwrap();
            schemas.insert(name.to_owned(), schema);
        }
        let registry = registry.prepare().unwrap();
        let compile = |name: &String| {
            let reference = json!({"$ref": format!("{BASE}{name}.schema.json")});
            let validator = jsonschema::options()
                .with_draft(Draft::Draft202012)
                .with_registry(&registry)
                .should_validate_formats(true)
                .build(&reference);
            (name.clone(), validator.unwrap_or_else(|error| panic!("{name}: {error}")))
        };
        let validators = schemas.keys().map(compile).collect();
        Schemas { schemas, validators }
    }

    /// The names of all schemas that describe a document.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.schemas.keys().map(String::as_str).filter(|name| *name != COMMON)
    }

    /// One schema.
    pub fn schema(&self, name: &str) -> &Value {
        self.schemas.get(name).unwrap_or_else(|| panic!("no schema {name}"))
    }

    /// What `name` finds wrong with `document`: nothing, or the places with what is wrong there.
    pub fn errors(&self, name: &str, document: &Value) -> Vec<String> {
        let validator = self.validators.get(name).unwrap_or_else(|| panic!("no schema {name}"));
        validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    /// Whether `name` accepts `document`.
    pub fn accepts(&self, name: &str, document: &Value) -> bool {
        self.validators.get(name).unwrap_or_else(|| panic!("no schema {name}")).is_valid(document)
    }

    /// The schema whose records have this `schema_id`.
    pub fn of_id(&self, id: &str) -> Option<&str> {
        let says = |schema: &Value| {
            let open = &schema["$defs"]["open"];
            [schema, open].iter().any(|schema| schema["properties"]["schema_id"]["const"] == id)
        };
        self.schemas.iter().find(|(_, schema)| says(schema)).map(|(name, _)| name.as_str())
    }

    /// Examples of documents: all members that a record can have. Of some there are several.
    pub fn examples(&self, name: &str) -> Vec<Value> {
        let example = read(&root().join(format!("schemas/v1/examples/{name}.json")));
        match example {
            // A schema of lists has a list as its one example.
            Value::Array(all) if self.schema(name)["type"] != "array" => all,
            one => vec![one],
        }
    }
}

#[test]
fn every_schema_says_what_it_is() {
    let schemas = Schemas::get();
    assert!(schemas.names().count() > 60);
    let mut ids = BTreeMap::new();
    for (name, schema) in &schemas.schemas {
        assert!(jsonschema::meta::is_valid(schema), "{name} is no JSON Schema");
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        let file = format!("{}.schema.json", name.rsplit('/').next().unwrap());
        assert_eq!(schema["$id"], file, "{name}");
        assert!(schema["title"].is_string() && schema["description"].is_string(), "{name}");
        if let Some(id) = schema["properties"]["schema_id"]["const"].as_str() {
            assert_eq!(ids.insert(id.to_owned(), name), None, "two schemas of {id}");
        }
    }
}

#[test]
fn every_example_is_valid() {
    let schemas = Schemas::get();
    for name in schemas.names() {
        let examples = schemas.examples(name);
        assert!(!examples.is_empty(), "{name}");
        for example in examples {
            assert_eq!(schemas.errors(name, &example), Vec::<String>::new(), "{name}: {example}");
        }
    }
}

#[test]
fn every_file_of_the_folder_is_a_schema_or_the_example_of_one() {
    let folder = root().join("schemas/v1");
    for path in files(&folder) {
        let relative = path.strip_prefix(&folder).unwrap().to_str().unwrap();
        let known = match relative.strip_prefix("examples/").and_then(|rest| rest.strip_suffix(".json")) {
            Some(example) => Schemas::get().names().any(|name| name == example),
            None => relative.ends_with(".schema.json"),
        };
        assert!(known, "{relative}");
    }
}
