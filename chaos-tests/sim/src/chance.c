/* All chance of a simulation comes from its seed: this takes the place of the C library's `getrandom`, which the standard
   library (the keys of its hash maps), the async runtime (whom it wakes first), Raft (how long it waits) and the
   cryptography (nonces, names) ask. Without CONCLAVE_SIM_SEED it asks the kernel, as the C library does.

   In C, because a Rust function cannot take that name without unsafe code, which this project forbids. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static uint64_t mixed(uint64_t number) {
    number += 0x9e3779b97f4a7c15u;
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9u;
    number = (number ^ (number >> 27)) * 0x94d049bb133111ebu;
    return number ^ (number >> 31);
}

ssize_t getrandom(void *buffer, size_t length, unsigned flags) {
    /* For each thread: what is drawn while a log is set up must not shift what the simulation draws. */
    static _Thread_local uint64_t taken;
    const char *seed = getenv("CONCLAVE_SIM_SEED");
    if (seed == NULL) {
        return syscall(SYS_getrandom, buffer, length, flags);
    }
    uint64_t key = mixed(strtoull(seed, NULL, 10));
    unsigned char *bytes = buffer;
    for (size_t at = 0; at < length; at++) {
        bytes[at] = (unsigned char)mixed(key ^ mixed(taken++));
    }
    return (ssize_t)length;
}
