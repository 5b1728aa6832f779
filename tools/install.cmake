# What `cmake --install` installs: the library, static and shared, for find_package(gomem) and pkg-config; the command with its page and completion.
include(CMakePackageConfigHelpers)

set(GOMEM_PUBLIC_HEADERS gomem/gomem.h gomem/policy.h gomem/world.h)
set(GOMEM_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/gomem)

set(libraries gomem_plain)
if(GOMEM_SHARED)
	list(APPEND libraries gomem_shared)
endif()
install(TARGETS ${libraries} EXPORT gomem-targets)
install(FILES ${GOMEM_PUBLIC_HEADERS} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/gomem)
install(EXPORT gomem-targets NAMESPACE gomem:: DESTINATION ${GOMEM_PACKAGE_DIR})

configure_package_config_file(${PROJECT_SOURCE_DIR}/tools/gomem-config.cmake.in ${PROJECT_BINARY_DIR}/gomem-config.cmake
	INSTALL_DESTINATION ${GOMEM_PACKAGE_DIR} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/gomem-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/gomem-config.cmake ${PROJECT_BINARY_DIR}/gomem-config-version.cmake DESTINATION ${GOMEM_PACKAGE_DIR})

# gomem.pc finds its prefix from where it is: an installation can be moved.
file(RELATIVE_PATH GOMEM_PC_TO_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(${PROJECT_SOURCE_DIR}/tools/gomem.pc.in ${PROJECT_BINARY_DIR}/gomem.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/gomem.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
if(GOMEM_TOOLS)
	install(TARGETS gomem_command)
	install(FILES ${PROJECT_SOURCE_DIR}/docs/gomem.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
	install(FILES ${PROJECT_SOURCE_DIR}/tools/completion/gomem.bash
		DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME gomem)
	install(FILES ${PROJECT_SOURCE_DIR}/tools/completion/_gomem DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
	install(FILES ${PROJECT_SOURCE_DIR}/tools/completion/gomem.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()
