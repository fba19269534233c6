# A Debian package by CPack, which ./dev package calls: `terrace` has the program, the headers and the libraries.
#
# What building against the libraries takes is recommended, not required: apt installs it unless told not to, and leaves it
# out where the development files of Boost 1.81 would exclude those of Debian's default version.
if(NOT PROJECT_IS_TOP_LEVEL OR NOT TERRACE_INSTALL OR BUILD_SHARED_LIBS)
  return() # an interface that changes with each version is better linked statically
endif()

set(TERRACE_PACKAGE_MAINTAINER "The Terrace developers <terrace@localhost>" CACHE STRING "Who a Debian package is from")

configure_file(${PROJECT_SOURCE_DIR}/cmake/copyright.in ${PROJECT_BINARY_DIR}/copyright @ONLY)
install(
  FILES ${PROJECT_BINARY_DIR}/copyright
  DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/terrace
  COMPONENT programs)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME terrace)
set(CPACK_PACKAGE_CONTACT ${TERRACE_PACKAGE_MAINTAINER})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "tiered KV-cache storage engine for LLM inference")
set(CPACK_DEB_COMPONENT_INSTALL OFF)
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/cmake/CompressManPages.cmake)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ
                                                WORLD_EXECUTE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
get_property(packages GLOBAL PROPERTY TERRACE_DEBIAN_PACKAGES)
list(REMOVE_DUPLICATES packages)
list(JOIN packages ", " CPACK_DEBIAN_PACKAGE_RECOMMENDS)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "cmake, pkgconf, fio")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
    "Terrace keeps the attention keys and values of past prompts in tiers, memory
above files and other stores, and brings the longest usable prefix of a prompt
back before the model needs it.
.
These are the program terrace, which replays request traces against the engine,
measures it, and verifies what it has stored; and the headers and static
libraries of the engine and its adapters, for CMake and pkg-config.")
include(CPack)
