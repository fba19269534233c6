#pragma once

#include <boost/version.hpp>

#include <terrace/version.hpp>

// Types of Boost are parts of Terrace's, and their inline functions are compiled here and there.
#if BOOST_VERSION != TERRACE_BOOST_VERSION
#error "Terrace was built with another version of Boost than this one: TERRACE_BOOST_VERSION in <terrace/version.hpp>"
#endif

/// Marks what Terrace's libraries offer. They are compiled with hidden visibility: of a shared library, what is not
/// marked cannot be linked to. In a static one it changes nothing.
#define TERRACE_API __attribute__((visibility("default")))

/// Marks what lies inside of something that is offered, and is not offered itself.
#define TERRACE_LOCAL __attribute__((visibility("hidden")))
