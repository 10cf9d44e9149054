//! What a process that has nothing to do for a while does with its memory. It never knows when
//! that is the case.

/// Gives back freed memory and the pages of the program itself, which come back from the page
/// cache as they are used: for a process that is about to wait.
pub fn give_memory_back() {
    sys::resident::trim_memory();
    sys::resident::forget_program();
}
