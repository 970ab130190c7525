//! The messages of Perfetto that are used, with the field numbers of its
//! protos/perfetto/trace/trace_packet.proto and track_event/*.proto. `ci/reports` has Perfetto's own
//! descriptors read what they make.

use prost::Message;

use crate::timeline::field::FieldValue;

#[derive(Clone, PartialEq, Message)]
pub(super) struct PerfettoTrace {
    #[prost(message, repeated, tag = "1")]
    pub(super) packet: Vec<Packet>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Packet {
    #[prost(uint64, optional, tag = "8")]
    pub(super) timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "10")]
    pub(super) trusted_packet_sequence_id: Option<u32>,
    #[prost(message, optional, tag = "11")]
    pub(super) track_event: Option<TrackEvent>,
    #[prost(message, optional, tag = "60")]
    pub(super) track_descriptor: Option<TrackDescriptor>,
}

/// With neither a process nor a thread: a track that only has a name, and a group if others have it
/// as their parent.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TrackDescriptor {
    #[prost(uint64, optional, tag = "1")]
    pub(super) uuid: Option<u64>,
    #[prost(string, optional, tag = "2")]
    pub(super) name: Option<String>,
    #[prost(message, optional, tag = "3")]
    pub(super) process: Option<ProcessDescriptor>,
    #[prost(message, optional, tag = "4")]
    pub(super) thread: Option<ThreadDescriptor>,
    #[prost(uint64, optional, tag = "5")]
    pub(super) parent_uuid: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProcessDescriptor {
    #[prost(int32, optional, tag = "1")]
    pub(super) pid: Option<i32>,
    #[prost(string, optional, tag = "6")]
    pub(super) process_name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ThreadDescriptor {
    #[prost(int32, optional, tag = "1")]
    pub(super) pid: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub(super) tid: Option<i32>,
    #[prost(string, optional, tag = "5")]
    pub(super) thread_name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TrackEvent {
    #[prost(message, repeated, tag = "4")]
    pub(super) debug_annotations: Vec<Annotation>,
    #[prost(int32, optional, tag = "9")]
    pub(super) r#type: Option<i32>,
    #[prost(uint64, optional, tag = "11")]
    pub(super) track_uuid: Option<u64>,
    #[prost(string, repeated, tag = "22")]
    pub(super) categories: Vec<String>,
    #[prost(string, optional, tag = "23")]
    pub(super) name: Option<String>,
    #[prost(fixed64, repeated, packed = "false", tag = "47")]
    pub(super) flow_ids: Vec<u64>,
    #[prost(fixed64, repeated, packed = "false", tag = "48")]
    pub(super) terminating_flow_ids: Vec<u64>,
}

/// `DebugAnnotation`: one argument. SQL has it as `debug.NAME`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Annotation {
    #[prost(string, optional, tag = "10")]
    pub(super) name: Option<String>,
    #[prost(bool, optional, tag = "2")]
    pub(super) bool_value: Option<bool>,
    #[prost(uint64, optional, tag = "3")]
    pub(super) uint_value: Option<u64>,
    #[prost(int64, optional, tag = "4")]
    pub(super) int_value: Option<i64>,
    #[prost(string, optional, tag = "6")]
    pub(super) string_value: Option<String>,
    #[prost(uint64, optional, tag = "7")]
    pub(super) pointer_value: Option<u64>,
    #[prost(message, repeated, tag = "12")]
    pub(super) array_values: Vec<Annotation>,
}

/// `TrackEvent.Type`.
pub(super) mod kind {
    pub(in crate::timeline::perfetto) const BEGIN: i32 = 1;
    pub(in crate::timeline::perfetto) const END: i32 = 2;
    pub(in crate::timeline::perfetto) const INSTANT: i32 = 3;
}

impl Annotation {
    /// This argument by that name.
    pub(super) fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// An argument of several values.
    pub(super) fn array(values: impl IntoIterator<Item = Self>) -> Self {
        Self { array_values: values.into_iter().collect(), ..Self::default() }
    }
}

impl From<bool> for Annotation {
    fn from(value: bool) -> Self {
        Self { bool_value: Some(value), ..Self::default() }
    }
}

impl From<u64> for Annotation {
    fn from(value: u64) -> Self {
        Self { uint_value: Some(value), ..Self::default() }
    }
}

impl From<&str> for Annotation {
    fn from(value: &str) -> Self {
        Self { string_value: Some(value.to_owned()), ..Self::default() }
    }
}

impl From<FieldValue> for Annotation {
    fn from(value: FieldValue) -> Self {
        match value {
            FieldValue::Unsigned(number) => number.into(),
            FieldValue::Signed(number) => Self { int_value: Some(number), ..Self::default() },
            FieldValue::Address(address) => {
                Self { pointer_value: Some(address.cast_unsigned()), ..Self::default() }
            }
            FieldValue::Truth(truth) => truth.into(),
            FieldValue::Word(word) => word.into(),
            FieldValue::Words(words) => Self::array(words.into_iter().map(Self::from)),
        }
    }
}
