# keel-decide for Debian's arm64, cross-compiled: gcc-aarch64-linux-gnu, and KEEL_ARM64, the folder into which arm64.sh has
# unpacked the libraries.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
# gcc 12 breaks off at loops whose largest number is a float made double (in vect_transform_reduction).
set(CMAKE_C_FLAGS_INIT "-fno-builtin-fmax -fno-builtin-fmin")
set(KEEL_ARM64 "" CACHE PATH "The folder of arm64's libraries, which experiments/edge/arm64.sh fills")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES KEEL_ARM64)
set(CMAKE_FIND_ROOT_PATH ${KEEL_ARM64} /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${KEEL_ARM64})
set(ENV{PKG_CONFIG_LIBDIR} ${KEEL_ARM64}/usr/lib/aarch64-linux-gnu/pkgconfig)
