#include <boost/system/system_error.hpp>
#include <doctest/doctest.h>
#include <set>
#include <string>

#include <terrace/error.hpp>

using terrace::errc;

TEST_CASE("error: every errc is an error_code of the category terrace, with words of its own")
{
    std::set<std::string> messages;
    for (errc e : {errc::closed, errc::timed_out, errc::unknown_adapter, errc::close_timed_out, errc::malformed_key}) {
        boost::system::error_code code = e;
        CAPTURE(code.value());
        CHECK(code.failed());
        CHECK(code == e);
        CHECK(std::string{code.category().name()} == "terrace");
        CHECK(code.message().find("unknown error") == std::string::npos);
        messages.insert(code.message());
    }
    CHECK(messages.size() == 5);
}

TEST_CASE("error: a value that is no errc still has a message")
{
    CHECK(boost::system::error_code{99, terrace::error_category()}.message() == "unknown error 99");
}

TEST_CASE("error: the category is not another one with equal numbers")
{
    boost::system::error_code other{static_cast<int>(errc::closed), boost::system::generic_category()};
    CHECK(other != errc::closed);
}

TEST_CASE("error: a result holds a value or the reason why not")
{
    terrace::result<int> value = 1;
    terrace::result<int> failure = errc::timed_out;
    CHECK(value.value() == 1);
    CHECK(failure.error() == errc::timed_out);
    CHECK_THROWS_AS((void)failure.value(), boost::system::system_error);
}
