# The engine alone: NATS and PostgreSQL are given from outside, by
# TIDEMARK_NATS and TIDEMARK_POSTGRES.

FROM golang:1.26-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION
RUN CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags "-s -w ${VERSION:+-X main.version=${VERSION#v}}" -o /engine ./cmd/engine

FROM alpine:3.22
RUN adduser -D -H -u 10001 tidemark && install -d -o tidemark -g tidemark /data
COPY --from=build /engine /usr/local/bin/engine
USER tidemark
WORKDIR /
# Who publishes the port decides who reaches it: publish it on a loopback address.
ENV TIDEMARK_DATA=/data TIDEMARK_HTTP=0.0.0.0:8080 TIDEMARK_HTTP_INSECURE=true
VOLUME /data
EXPOSE 8080
# A start that reads a long journal takes its time; the first success ends the start period.
HEALTHCHECK --interval=5s --timeout=5s --start-period=10m --retries=3 \
    CMD ["engine", "status", "--alive", "--timeout", "3s"]
ENTRYPOINT ["engine"]
CMD ["serve"]
