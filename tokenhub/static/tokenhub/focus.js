// The browser passes `autofocus` over where Alpine.js still hides the page when it comes to it.
document.addEventListener("alpine:initialized", () =>
    setTimeout(() => {
        if (document.activeElement === document.body) document.querySelector("[autofocus]")?.focus();
    }),
);
