#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <fmt/format.h>
#include <stdexcept>
#include <string>

#include <terrace/configuration.hpp>
#include <terrace/version.hpp>

#include "commands.hpp"
#include "replay/trace.hpp"

namespace {

using namespace terrace::apps;

int complain(const std::exception& e, exit_status status)
{
    fmt::print(stderr, "terrace: {}\n", e.what());
    return status;
}

} // namespace

int main(int argc, char** argv)
{
    CLI::App app{"Terrace: a tiered KV-cache storage engine for LLM inference", "terrace"};
    app.set_version_flag("--version", "terrace " TERRACE_VERSION);
    app.require_subcommand(1);
    command chosen;
    add_replay(app, chosen);
    add_generate(app, chosen);
    add_inspect(app, chosen);
    add_config(app, chosen);
    add_bench(app, chosen);
    try {
        app.parse(argc, argv);
        return chosen();
    } catch (const CLI::Success& e) { // --help, --version
        return app.exit(e);
    } catch (const CLI::ParseError& e) {
        return complain(e, exit_usage);
    } catch (const terrace::configuration_error& e) {
        for (const std::string& problem : e.problems())
            fmt::print(stderr, "terrace: {}\n", problem);
        return exit_usage;
    } catch (const std::invalid_argument& e) {
        return complain(e, exit_usage);
    } catch (const terrace::replay::trace_error& e) {
        return complain(e, exit_usage);
    } catch (const std::exception& e) {
        return complain(e, exit_failed);
    }
}
