#include "support/units.hpp"

#include <doctest/doctest.h>
#include <stdexcept>

#include <terrace/cuda/method_table.hpp>

using namespace terrace::cuda;
using terrace::test::kib;
using terrace::test::mib;

namespace {

using enum transfer_method;

} // namespace

TEST_CASE("method table: without measurements long runs are for the copy engine")
{
    const method_table table;
    CHECK(table.choose(direction::gather, 4 * kib, mib) == staged_kernel);
    CHECK(table.choose(direction::scatter, 256 * kib, mib) == copy_engine);
    CHECK(table.cells().empty());
}

TEST_CASE("method table: the fastest method of the nearest sizes, for each direction")
{
    const method_table table{{{direction::gather, mapped_kernel, 4 * kib, mib, 1.0},
                              {direction::gather, staged_kernel, 4 * kib, mib, 2.0},
                              {direction::gather, copy_engine, 4 * kib, mib, 9.0},
                              {direction::gather, mapped_kernel, 4 * kib, 16 * mib, 2.0},
                              {direction::gather, staged_kernel, 4 * kib, 16 * mib, 1.0},
                              {direction::gather, copy_engine, 256 * kib, mib, 1.0},
                              {direction::scatter, staged_kernel, 4 * kib, mib, 1.0}}};
    CHECK(table.choose(direction::gather, 4 * kib, mib) == mapped_kernel);
    CHECK(table.choose(direction::gather, 1, 1) == mapped_kernel);
    CHECK(table.choose(direction::gather, 6 * kib, 3 * mib) == mapped_kernel);
    CHECK(table.choose(direction::gather, 6 * kib, 5 * mib) == staged_kernel);
    CHECK(table.choose(direction::gather, 100 * kib, 2 * mib) == copy_engine);
    CHECK(table.choose(direction::scatter, 256 * kib, mib) == staged_kernel);
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
