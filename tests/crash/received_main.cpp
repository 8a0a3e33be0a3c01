// What the crash kit kills to test received data:
//   crash_received --prepare DIR   writes to DIR/ledger what must come out
//   crash_received DIR             receives it into the working directory, going on from a kill
//   crash_received --rows          prints the rows of the database in the working directory
// The lines that come first go into text files and into a SQLite database.
#include "connectors/sqlite/sqlite_sink.hpp"
#include "rdd/exceptions.hpp"
#include "received.hpp"

#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <memory>
#include <sqlite3.h>
#include <stdexcept>
#include <string>
#include <string_view>

namespace dstream::crash {

namespace {

constexpr const char* kDatabase = "rows.db";

void insertRows(const DStream<Count>& first) {
    first.map([](const Count& count) {
             return SqlRow{count.first, int64_t{count.second}};
         })
        .saveToSink("rows", std::make_shared<sqlite::SqliteSink>(sqlite::SqliteSinkOptions{
                                .path = kDatabase,
                                .createTable = "CREATE TABLE IF NOT EXISTS rows (line TEXT, n INTEGER)",
                                .insert = "INSERT INTO rows VALUES (?, ?)"}));
}

void printRows() {
    sqlite3* database = nullptr;
    const auto print = [](void*, int, char** values, char**) {
        std::printf("row of %s, seen %s times\n", values[0], values[1]);
        return 0;
    };
    const bool good = sqlite3_open(kDatabase, &database) == SQLITE_OK &&
                      sqlite3_exec(database, "SELECT line, n FROM rows", print, nullptr, nullptr) == SQLITE_OK;
    const std::string problem = good ? "" : sqlite3_errmsg(database);
    sqlite3_close(database);
    if (!good) throw std::runtime_error(problem);
}

}  // namespace

}  // namespace dstream::crash

int main(int argc, char** argv) {
    using namespace dstream::crash;
    try {
        if (argc == 3 && std::string_view(argv[1]) == "--prepare") {
            std::ofstream ledger(std::string(argv[2]) + "/ledger");
            for (const std::string& line : receivedLines()) ledger << line << "\nrow of " << line << ", seen 1 times\n";
            return ledger.flush() ? 0 : 1;
        }
        if (argc != 2) {
            std::fprintf(stderr, "usage: %s --prepare DIR | DIR | --rows\n", argv[0]);
            return 2;
        }
        if (std::string_view(argv[1]) == "--rows") {
            printRows();
        } else {
            receive(".", insertRows);
        }
        return 0;
    } catch (...) {
        std::fprintf(stderr, "%s\n", dstream::describeException(std::current_exception()).c_str());
        return 1;
    }
}
