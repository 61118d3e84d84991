//! The closed word lists of an intent (control 4), each in byte order of its words.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All of them; the order of the enum is the byte order of the words.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word of the contract.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// What `word` means, if it is one of the list.
            pub fn parse(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

words! {
    /// What kind of thing a target is.
    TargetKind {
        /// An object store bucket.
        Bucket = "bucket",
        /// A host, with or without port.
        Host = "host",
        /// Anything else.
        Other = "other",
        /// A path of a file system.
        Path = "path",
        /// A message queue.
        Queue = "queue",
        /// A repository.
        Repo = "repo",
        /// A database table.
        Table = "table",
        /// A message topic.
        Topic = "topic",
        /// A URL.
        Url = "url",
    }
}

words! {
    /// What is done at the boundary to a target.
    EndpointClass {
        /// Deletes from a file system.
        FsDelete = "fs.delete",
        /// Reads from a file system.
        FsRead = "fs.read",
        /// Writes to a file system.
        FsWrite = "fs.write",
        /// Resolves a name.
        NetDns = "net.dns",
        /// Speaks over the network.
        NetHttp = "net.http",
        /// Anything else, or unknown.
        Other = "other",
        /// Runs a program.
        ProcExec = "proc.exec",
        /// Clicks.
        UiClick = "ui.click",
        /// Opens a page.
        UiNavigate = "ui.navigate",
        /// Types.
        UiType = "ui.type",
    }
}

words! {
    /// Where the data of an argument comes from.
    ProvenanceSource {
        /// From outside.
        External = "external",
        /// From the system itself.
        System = "system",
        /// From another tool.
        ToolOutput = "tool_output",
        /// From the user.
        User = "user",
    }
}

impl EndpointClass {
    /// Whether it leaves the machine.
    pub const fn is_network(self) -> bool {
        matches!(self, Self::NetDns | Self::NetHttp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_each_list_is_the_byte_order_of_its_words() {
        assert!(TargetKind::ALL.is_sorted_by_key(|kind| kind.as_str()));
        assert!(EndpointClass::ALL.is_sorted_by_key(|class| class.as_str()));
        assert!(ProvenanceSource::ALL.is_sorted_by_key(|source| source.as_str()));
    }
}
