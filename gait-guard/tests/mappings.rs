//! Memory that becomes executable.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod common;

use common::{Guarded, Outcome};

/// Maps a file, a memory file and nothing, by each road to `PROT_EXEC`; prints what each gives.
fn roads(file: &str, judge: impl FnOnce(Guarded) -> Guarded) -> Outcome {
    let script = format!(
        "import ctypes, mmap, os\n\
         libc = ctypes.CDLL(None, use_errno=True)\n\
         libc.mmap.restype = ctypes.c_void_p\n\
         libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]\n\
         libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]\n\
         def done(failed): return ctypes.get_errno() if failed else 0\n\
         def map(prot, flags, fd):\n\
         \x20   at = libc.mmap(None, 4096, prot, flags, fd, 0)\n\
         \x20   return at, done(at == 2 ** 64 - 1)\n\
         file = os.open('{file}', os.O_RDONLY)\n\
         memory = os.memfd_create('m'); os.truncate(memory, 4096)\n\
         print('mmap file', map(5, 2, file)[1])\n\
         print('mmap memory', map(5, 2, memory)[1])\n\
         print('mmap nothing', map(7, 0x22, -1)[1])\n\
         print('mmap closed', map(5, 2, 99)[1])\n\
         for name, fd, flags in [('file', file, 2), ('memory', memory, 1), ('nothing', -1, 0x22)]:\n\
         \x20   at = map(1, flags, fd)[0]\n\
         \x20   print('mprotect', name, done(libc.mprotect(at, 4096, 5) < 0))\n\
         print('mprotect unmapped', done(libc.mprotect(4096, 4096, 5) < 0))\n"
    );
    judge(Guarded::new(["python3", "-c", &script])).run()
}

#[test]
fn only_files_are_judged_whichever_road_they_take() {
    let file = tempfile::Builder::new().prefix("library").tempfile().unwrap();
    std::fs::write(file.path(), [0; 4096]).unwrap();
    let path = file.path().to_str().unwrap();
    let rest = |file: i32| {
        format!(
            "mmap file {file}\nmmap memory 0\nmmap nothing 0\nmmap closed 9\nmprotect file {file}\nmprotect memory 0\nmprotect nothing 0\n\
             mprotect unmapped 12\n"
        )
    };
    let allowed = roads(path, |guarded| guarded);
    assert_eq!(allowed.stdout, rest(0), "{}", allowed.stderr);
    assert_eq!(allowed.mentioning(&format!("Path Map {path}")).len(), 2);
    let denied = roads(path, |guarded| guarded.denying("Path Map /tmp/library"));
    assert_eq!(denied.stdout, rest(13), "{}", denied.stderr);
}
