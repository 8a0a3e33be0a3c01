#pragma once

#include <optional>
#include <sstream>
#include <string>

/// A visit of a page: a line of four fields with tabs between them.
struct PageView {
    std::string url;
    int status = 0;
    int zipCode = 0;
    int userID = 0;

    std::string toString() const {
        return url + "\t" + std::to_string(status) + "\t" + std::to_string(zipCode) + "\t" + std::to_string(userID);
    }
    static PageView fromString(const std::string& in) {
        PageView view;
        std::istringstream fields(in);
        std::getline(fields, view.url, '\t');
        fields >> view.status >> view.zipCode >> view.userID;
        return view;
    }
};
