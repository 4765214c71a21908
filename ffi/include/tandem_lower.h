/*
 * Tandem's compiler: turns a Subgraph into a Program and packed constants, at export. Devices never load this library.
 *
 *   - A status other than TANDEM_LOWER_OK leaves a message in `tandem_lower_last_error()` of the same thread, which
 *     names the stage, the operator, its node and the values.
 *   - Pointers must not be null unless a parameter says so. Strings are UTF-8 and end with a zero byte.
 *   - Any thread may call; one result may be read by many threads.
 *   - Nothing is thrown: a panic inside becomes TANDEM_LOWER_INTERNAL.
 */
#ifndef TANDEM_LOWER_H
#define TANDEM_LOWER_H

#include <stdint.h>

#if defined(_WIN32)
#define TANDEM_LOWER_API
#else
#define TANDEM_LOWER_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Version of this header; `tandem_lower_abi_version()` gives the library's. */
#define TANDEM_LOWER_ABI_VERSION 2u

/* What `tandem_lower`, `tandem_lower_check` and `tandem_lowered_entry` answer. */
enum {
  TANDEM_LOWER_OK = 0,
  TANDEM_LOWER_INVALID_ARGUMENT = 1,  /* a null pointer, an unknown option, an index out of range */
  TANDEM_LOWER_INVALID_SUBGRAPH = 2,  /* damaged, of another kind or newer, or its nodes do not fit together */
  TANDEM_LOWER_INTERNAL = 3           /* a fault of Tandem's own */
};

/* A constant of the subgraph: row-major bytes under the key its value names. Read during the call only. */
typedef struct {
  const char* key;
  const void* data; /* may be null where length is 0; any alignment */
  uint64_t length;  /* bytes */
} tandem_constant;

/* A result; everything read from it lives until `tandem_lowered_free`. */
typedef struct tandem_lowered tandem_lowered;

TANDEM_LOWER_API uint32_t tandem_lower_abi_version(void);

/*
 * Lowers a subgraph blob (schemas/subgraph.fbs with its header).
 *
 * `constants` may be null where `count` is 0. `options` is null or "key=value;...":
 *   without   names of rewrites to leave out, separated by commas, or "all"
 * On success `*out` is a result to be freed; otherwise it is null.
 */
TANDEM_LOWER_API int32_t tandem_lower(const void* subgraph, uint64_t length, const tandem_constant* constants,
                                      uint64_t count, const char* options, tandem_lowered** out);

/*
 * Whether `tandem_lower` takes every node of a subgraph, which is read and not lowered: TANDEM_LOWER_OK, or
 * TANDEM_LOWER_INVALID_SUBGRAPH and in the message why not. Arguments as above.
 */
TANDEM_LOWER_API int32_t tandem_lower_check(const void* subgraph, uint64_t length, const tandem_constant* constants,
                                            uint64_t count);

/* The Program blob (schemas/program.fbs with its header). Null for a null result. */
TANDEM_LOWER_API const void* tandem_lowered_program(const tandem_lowered* lowered, uint64_t* length);

/* Number of packed constants the program names. 0 for a null result. */
TANDEM_LOWER_API uint64_t tandem_lowered_entry_count(const tandem_lowered* lowered);

/* Key and bytes of one of them, to be stored as named data aligned to 64. */
TANDEM_LOWER_API int32_t tandem_lowered_entry(const tandem_lowered* lowered, uint64_t index, const char** key,
                                              const void** data, uint64_t* length);

/* The program as text, a line per op. Null for a null result. */
TANDEM_LOWER_API const char* tandem_lower_dump(const tandem_lowered* lowered);

/* Null is allowed. */
TANDEM_LOWER_API void tandem_lowered_free(tandem_lowered* lowered);

/* What went wrong in this thread's last failed call; "" if none failed. Valid until the thread's next call. */
TANDEM_LOWER_API const char* tandem_lower_last_error(void);

#ifdef __cplusplus
}
#endif

#endif
