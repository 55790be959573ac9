// Unfold has buttons that are none, which the keyboard passes over: one's name with the way out, the filters, the theme.
document.addEventListener("alpine:initialized", () => {
    for (const each of document.querySelectorAll(".cursor-pointer[x-on\\:click]:not([href], button)")) {
        each.tabIndex = 0;
        each.setAttribute("role", "button");
    }
});
document.addEventListener("keydown", (event) => {
    if (["Enter", " "].includes(event.key) && event.target.matches("[role=button]:not([href], button)")) {
        event.preventDefault();
        event.target.click();
    }
});
