# The toolchain of tools/cross.py: Debian's cross compiler for GOMEM_TRIPLET, libraries from the packages unpacked in GOMEM_SYSROOT, and programs
# run by GOMEM_QEMU, with the C library in GOMEM_LOADER. Invariant: nothing of the host's libraries or headers is found.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES
	GOMEM_PROCESSOR GOMEM_TRIPLET GOMEM_LIBDIR GOMEM_SYSROOT GOMEM_QEMU GOMEM_LOADER)
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${GOMEM_PROCESSOR})
set(CMAKE_C_COMPILER ${GOMEM_TRIPLET}-gcc)
set(CMAKE_CXX_COMPILER NOTFOUND) # benchmarks alone are C++, and figures of an emulation say nothing
set(CMAKE_LIBRARY_ARCHITECTURE ${GOMEM_LIBDIR})
set(CMAKE_FIND_ROOT_PATH ${GOMEM_SYSROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(libraries ${GOMEM_SYSROOT}/usr/lib/${GOMEM_LIBDIR}:${GOMEM_SYSROOT}/lib/${GOMEM_LIBDIR})
if(GOMEM_PROCESSOR STREQUAL i386) # of the same processor: its own loader, and no emulation
	set(CMAKE_CROSSCOMPILING_EMULATOR ${GOMEM_LOADER}/lib/ld-linux.so.2 --library-path ${GOMEM_LOADER}/lib:${libraries})
else()
	set(CMAKE_CROSSCOMPILING_EMULATOR ${GOMEM_QEMU} -L ${GOMEM_LOADER} -E LD_LIBRARY_PATH=${libraries})
endif()
