//! Maps, and the types that programs and maps refer to.

use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::io;

use super::{Command, call, name, open};

/// What a map is to be: see `BPF_MAP_CREATE`.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// Its name, of which 15 bytes are used.
    pub name: &'a str,
    /// `enum bpf_map_type`.
    pub kind: u32,
    /// Bytes of a key.
    pub key: u32,
    /// Bytes of a value.
    pub value: u32,
    /// Most entries; bytes, of a ring.
    pub entries: u32,
    /// `BPF_F_*`.
    pub flags: u32,
    /// The types of its keys and values, by number among those of the object.
    pub types: Option<(BorrowedFd<'a>, u32, u32)>,
}

/// The members of `union bpf_attr` for [`Command::MapCreate`].
#[repr(C)]
struct Create {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
    map_ifindex: u32,
    btf_fd: u32,
    btf_key_type_id: u32,
    btf_value_type_id: u32,
}

/// Makes a map.
///
/// # Errors
/// Those of `bpf(BPF_MAP_CREATE)`.
pub fn create(shape: &Shape<'_>) -> io::Result<OwnedFd> {
    let (btf_fd, key, value) =
        shape.types.map_or((0, 0, 0), |(types, key, value)| (types.as_raw_fd().unsigned_abs(), key, value));
    let mut attr = Create {
        map_type: shape.kind,
        key_size: shape.key,
        value_size: shape.value,
        max_entries: shape.entries,
        map_flags: shape.flags,
        inner_map_fd: 0,
        numa_node: 0,
        map_name: name(shape.name),
        map_ifindex: 0,
        btf_fd,
        btf_key_type_id: key,
        btf_value_type_id: value,
    };
    // SAFETY: the members for this command, and no pointer.
    unsafe { open(Command::MapCreate, &mut attr) }
}

/// The members of `union bpf_attr` for [`Command::MapUpdate`].
#[repr(C)]
struct Update {
    map_fd: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Writes the one value of an array, which has exactly the bytes of `value`, and lets no program or process change it.
///
/// # Errors
/// Those of `bpf(BPF_MAP_UPDATE_ELEM)` and `bpf(BPF_MAP_FREEZE)`.
///
/// # Panics
/// `value` is not as long as the map was [made](create) for.
pub fn fill(map: BorrowedFd<'_>, shape: &Shape<'_>, value: &[u8]) -> io::Result<()> {
    assert!(shape.key == 4 && shape.value as usize == value.len(), "a value of another size than its map's");
    let key = 0_u32;
    let map_fd = map.as_raw_fd().unsigned_abs();
    let mut attr = Update { map_fd, reserved: 0, key: (&raw const key) as u64, value: value.as_ptr() as u64, flags: 0 };
    // SAFETY: the members for this command; a key has four bytes, and a value as many as there are: see the assertion. The
    // kernel only reads them.
    unsafe { call(Command::MapUpdate, &mut attr) }?;
    // SAFETY: the one member for this command.
    unsafe { call(Command::MapFreeze, &mut [map_fd]) }.map(drop)
}

/// The members of `union bpf_attr` for [`Command::BtfLoad`].
#[repr(C)]
struct Types {
    btf: u64,
    btf_log_buf: u64,
    btf_size: u32,
    btf_log_size: u32,
    btf_log_level: u32,
    reserved: u32,
}

/// Loads the types of an object, as they stand in its `.BTF`.
///
/// # Errors
/// Those of `bpf(BPF_BTF_LOAD)`.
pub fn load_types(types: &[u8]) -> io::Result<OwnedFd> {
    let mut attr = Types {
        btf: types.as_ptr() as u64,
        btf_log_buf: 0,
        btf_size: types.len() as u32,
        btf_log_size: 0,
        btf_log_level: 0,
        reserved: 0,
    };
    // SAFETY: the members for this command; `btf` is as long as said, and the kernel only reads it.
    unsafe { open(Command::BtfLoad, &mut attr) }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn members_lie_where_the_kernel_reads_them() {
        let at = [offset_of!(Create, map_name), offset_of!(Create, btf_fd), size_of::<Create>()];
        assert_eq!(at, [28, 48, 60]);
        assert_eq!([offset_of!(Update, key), offset_of!(Update, flags), size_of::<Update>()], [8, 24, 32]);
        assert_eq!([offset_of!(Types, btf_size), size_of::<Types>()], [16, 32]);
    }

    #[test]
    fn what_is_no_map_is_an_error() {
        let shape = Shape { name: "none", kind: u32::MAX, key: 4, value: 4, entries: 1, flags: 0, types: None };
        assert!(create(&shape).is_err());
        assert!(load_types(b"no types").is_err());
    }
}
