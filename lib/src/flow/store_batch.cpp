#include "flow/store_batch.hpp"

namespace terrace {

void store_batch::ask(const bitmap& which)
{
    which.for_each_set([&](std::size_t i) { ++targets_left_[i]; });
}

void store_batch::done(const store_job& job, const bitmap& those, bool stored)
{
    bitmap all_stored{job.objects.size()};
    bitmap some_failed{job.objects.size()};
    std::size_t index = 0;
    job.which.for_each_set([&](std::size_t at) {
        const std::size_t i = index++;
        if (!those.test(i))
            return;
        if (!stored)
            failed_.set(at);
        if (--targets_left_[at] == 0)
            (failed_.test(at) ? some_failed : all_stored).set(i);
    });
    if (all_stored.any() || some_failed.any())
        owner_.done(*this, job.objects, all_stored, some_failed);
}

} // namespace terrace
