#include <terrace/error.hpp>

#include <boost/system/error_category.hpp>
#include <string>

namespace terrace {

namespace {

// Boost's category has a protected destructor and a friend, which gcc takes for one that anybody can call.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnon-virtual-dtor"
class category final : public boost::system::error_category {
public:
    // The number stands for the category when several copies of it are in one process, as with shared libraries.
    constexpr category() noexcept : error_category{0x7465727261636531U} {}

    [[nodiscard]] const char* name() const noexcept override { return "terrace"; }

    [[nodiscard]] std::string message(int value) const override
    {
        switch (static_cast<errc>(value)) {
        case errc::closed:
            return "the storage manager is closed";
        case errc::timed_out:
            return "the deadline passed";
        case errc::unknown_adapter:
            return "no adapter has this id";
        case errc::close_timed_out:
            return "an adapter did not end its operations in time";
        case errc::malformed_key:
            return "the text is not an object key";
        }
        return "unknown error " + std::to_string(value);
    }
};
#pragma GCC diagnostic pop

} // namespace

const boost::system::error_category& error_category() noexcept
{
    static const category instance;
    return instance;
}

} // namespace terrace
