#include <doctest/doctest.h>
#include <stdexcept>

#include <terrace/cuda/method_table.hpp>

using namespace terrace::cuda;

namespace {

constexpr std::uint64_t KiB = 1024;
constexpr std::uint64_t MiB = 1024 * KiB;
using enum transfer_method;

} // namespace

TEST_CASE("method table: without measurements long runs are for the copy engine")
{
    const method_table table;
    CHECK(table.choose(direction::gather, 4 * KiB, MiB) == staged_kernel);
    CHECK(table.choose(direction::scatter, 256 * KiB, MiB) == copy_engine);
    CHECK(table.cells().empty());
}

TEST_CASE("method table: the fastest method of the nearest sizes, for each direction")
{
    const method_table table{{{direction::gather, mapped_kernel, 4 * KiB, MiB, 1.0},
                              {direction::gather, staged_kernel, 4 * KiB, MiB, 2.0},
                              {direction::gather, copy_engine, 4 * KiB, MiB, 9.0},
                              {direction::gather, mapped_kernel, 4 * KiB, 16 * MiB, 2.0},
                              {direction::gather, staged_kernel, 4 * KiB, 16 * MiB, 1.0},
                              {direction::gather, copy_engine, 256 * KiB, MiB, 1.0},
                              {direction::scatter, staged_kernel, 4 * KiB, MiB, 1.0}}};
    CHECK(table.choose(direction::gather, 4 * KiB, MiB) == mapped_kernel);
    CHECK(table.choose(direction::gather, 1, 1) == mapped_kernel);
    CHECK(table.choose(direction::gather, 6 * KiB, 3 * MiB) == mapped_kernel);
    CHECK(table.choose(direction::gather, 6 * KiB, 5 * MiB) == staged_kernel);
    CHECK(table.choose(direction::gather, 100 * KiB, 2 * MiB) == copy_engine);
    CHECK(table.choose(direction::scatter, 256 * KiB, MiB) == staged_kernel);
    CHECK(table.cells().size() == 4);
}

TEST_CASE("method table: what takes fewer multiprocessors may take 5 % longer")
{
    const auto choice = [](double mapped, double staged, double copies) {
        return method_table{{{direction::gather, mapped_kernel, 1, 1, mapped},
                             {direction::gather, staged_kernel, 1, 1, staged},
                             {direction::gather, copy_engine, 1, 1, copies}}}
            .choose(direction::gather, 1, 1);
    };
    CHECK(choice(1.0, 1.0, 1.04) == copy_engine);
    CHECK(choice(1.0, 1.04, 1.06) == staged_kernel);
    CHECK(choice(1.0, 1.06, 1.06) == mapped_kernel);
}

TEST_CASE("method table: of several samples of the same the best counts, and what is none is refused")
{
    const method_table table{{{direction::gather, copy_engine, 1, 1, 3.0},
                              {direction::gather, staged_kernel, 1, 1, 2.0},
                              {direction::gather, copy_engine, 1, 1, 1.0}}};
    CHECK(table.choose(direction::gather, 1, 1) == copy_engine);
    CHECK(table.cells().front().seconds == 1.0);
    CHECK_THROWS_AS(method_table({{direction::gather, copy_engine, 0, 1, 1.0}}), std::invalid_argument);
    CHECK_THROWS_AS(method_table({{direction::gather, copy_engine, 1, 1, 0.0}}), std::invalid_argument);
}
