//! One schema as a table of its members.

use super::Schemas;
use super::json::Json;

/// A schema, or a part of one that lies in its file.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    /// All schemas, for references.
    pub schemas: &'a Schemas,
    /// Name of the schema that the node lies in.
    pub name: &'a str,
    pub node: &'a Json,
}

impl<'a> Part<'a> {
    fn of(self, node: &'a Json) -> Self {
        Part { node, ..self }
    }

    /// The pages' name for what `$ref` leads to, and that.
    fn reference(self) -> Option<(String, Part<'a>)> {
        let reference = self.node.text("$ref")?;
        let (file, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let folder = self.name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = match (file, file.strip_prefix("../")) {
            ("", _) => self.name.to_owned(),
            (_, Some(file)) => file.trim_end_matches(".schema.json").to_owned(),
            (_, None) => format!("{folder}/{}", file.trim_end_matches(".schema.json")),
        };
        let (name, schema) = self.schemas.0.get_key_value(&path)?;
        let node = schema.pointer(pointer)?;
        let word = pointer.rsplit('/').next().filter(|word| !word.is_empty()).unwrap_or(name);
        Some((word.to_owned(), Part { name, node, ..self }))
    }

    /// The table of all members, at any depth but behind references; empty for what has none.
    pub fn table(self) -> String {
        let mut rows = Vec::new();
        self.rows("", &mut rows);
        if rows.is_empty() {
            return String::new();
        }
        format!("| member | type | required | meaning |\n|---|---|---|---|\n{}", rows.concat())
    }

    fn rows(self, prefix: &str, rows: &mut Vec<String>) {
        let required: Vec<&Json> = self.node.get("required").map(Json::items).unwrap_or_default().iter().collect();
        for (name, member) in self.node.get("properties").map(Json::members).unwrap_or_default() {
            let is_required = required.contains(&&Json::Text(name.clone()));
            let path = format!("{prefix}{name}");
            let part = self.of(member);
            let shared = || part.reference()?.1.node.text("description").map(first_sentence);
            let meaning = escaped(member.text("description").or_else(shared).unwrap_or_default());
            rows.push(format!(
                "| `{path}` | {} | {} | {meaning} |\n",
                part.kind(),
                if is_required { "yes" } else { "" },
            ));
            part.rows(&format!("{path}."), rows);
        }
        if let Some(item) = self.node.get("items") {
            let list = prefix.strip_suffix('.').unwrap_or(prefix);
            self.of(item).rows(&format!("{list}[]."), rows);
        }
        for (number, variant) in (1..).zip(self.variants()) {
            let about = escaped(variant.text("description").unwrap_or_default());
            if !variant.get("properties").map(Json::members).unwrap_or_default().is_empty() {
                rows.push(format!("| *form {number}* | | | {about} |\n"));
                self.of(variant).rows(prefix, rows);
            }
        }
    }

    fn variants(self) -> &'a [Json] {
        self.node.get("oneOf").map(Json::items).unwrap_or_default()
    }

    /// What kind of value it is, in words.
    pub fn kind(self) -> String {
        let number = |name: &str| self.node.get(name).map(Json::to_string);
        if let Some((word, target)) = self.reference() {
            return self.schemas.link(&word, target.name);
        }
        if let Some(value) = self.node.get("const") {
            return code(&plain(value));
        }
        if let Some(words) = self.node.get("enum") {
            return words.items().iter().map(|word| code(&plain(word))).collect::<Vec<_>>().join(", ");
        }
        if let Some(any) = self.node.get("anyOf") {
            return any.items().iter().map(|one| self.of(one).kind()).collect::<Vec<_>>().join(" or ");
        }
        match self.node.text("type") {
            Some("array") => {
                let item = self.node.get("items").map(|item| self.of(item).kind()).unwrap_or_default();
                let list = if self.node.get("uniqueItems").is_some() { "set" } else { "list" };
                let least = number("minItems").map(|n| format!(", at least {n}")).unwrap_or_default();
                let most = number("maxItems").map(|n| format!(", at most {n}")).unwrap_or_default();
                format!("{list} of {item}{least}{most}")
            }
            Some("object") => match self.node.get("additionalProperties") {
                Some(values @ Json::Object(_)) => format!("map to {}", self.of(values).kind()),
                _ => "object".into(),
            },
            Some("string") => match (self.node.text("pattern"), number("minLength"), number("maxLength")) {
                (Some(pattern), ..) => format!("text {}", code(pattern)),
                (None, Some(_), None) => "text, not empty".into(),
                (None, Some(least), Some(most)) if least == most => format!("text of {least} characters"),
                _ => "text".into(),
            },
            Some(kind) => match (number("minimum"), number("maximum")) {
                (Some(least), Some(most)) => format!("{kind} {least}..{most}"),
                (Some(least), None) => format!("{kind} from {least}"),
                _ => kind.to_owned(),
            },
            None if !self.variants().is_empty() => "object".into(),
            None => String::new(),
        }
    }
}

/// What a link is told by: the definition says the rest.
fn first_sentence(text: &str) -> &str {
    text.split_inclusive(". ").next().unwrap_or(text).trim_end()
}

/// Text of a value without the quotes.
fn plain(value: &Json) -> String {
    match value {
        Json::Text(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A span of code in a cell of a table.
fn code(text: &str) -> String {
    if text.is_empty() { "empty".into() } else { format!("`{}`", escaped(text)) }
}

/// Text in a cell of a table.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}
