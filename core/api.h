/* Around the declarations of every public header: C linkage in C++, and exported from the shared library,
 * where all else is hidden (-fvisibility=hidden). Which headers are public stands in the top CMakeLists.txt.
 */
#ifndef KEEL_CORE_API_H
#define KEEL_CORE_API_H

#ifdef __cplusplus
#define KEEL_BEGIN_DECLS                                                                                     \
    extern "C" {                                                                                             \
    _Pragma("GCC visibility push(default)")
#define KEEL_END_DECLS                                                                                       \
    _Pragma("GCC visibility pop")                                                                            \
    }
#else
#define KEEL_BEGIN_DECLS _Pragma("GCC visibility push(default)")
#define KEEL_END_DECLS   _Pragma("GCC visibility pop")
#endif

#endif
