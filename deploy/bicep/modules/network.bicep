// The private network: subnets that Databricks, AKS and Postgres are put into, one for private endpoints, and the names that
// lead to those.
param location string
param prefix string
param tags object

var zones = ['privatelink.dfs.${environment().suffixes.storage}', 'privatelink.blob.${environment().suffixes.storage}', 'privatelink.vaultcore.azure.net', 'privatelink.azurecr.io', '${prefix}.private.postgres.database.azure.com']

resource rules 'Microsoft.Network/networkSecurityGroups@2024-01-01' = {
  name: '${prefix}-rules'
  location: location
  tags: tags
  properties: {}
}

resource network 'Microsoft.Network/virtualNetworks@2024-01-01' = {
  name: '${prefix}-network'
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: ['10.40.0.0/16']
    }
    subnets: [
      {
        name: 'endpoints'
        properties: {
          addressPrefix: '10.40.0.0/24'
        }
      }
      {
        name: 'postgres'
        properties: {
          addressPrefix: '10.40.1.0/24'
          delegations: [
            {
              name: 'postgres'
              properties: {
                serviceName: 'Microsoft.DBforPostgreSQL/flexibleServers'
              }
            }
          ]
        }
      }
      {
        name: 'cluster'
        properties: {
          addressPrefix: '10.40.4.0/22'
        }
      }
      {
        name: 'databricks-host'
        properties: {
          addressPrefix: '10.40.8.0/22'
          networkSecurityGroup: {
            id: rules.id
          }
          delegations: [
            {
              name: 'databricks'
              properties: {
                serviceName: 'Microsoft.Databricks/workspaces'
              }
            }
          ]
        }
      }
      {
        name: 'databricks-container'
        properties: {
          addressPrefix: '10.40.12.0/22'
          networkSecurityGroup: {
            id: rules.id
          }
          delegations: [
            {
              name: 'databricks'
              properties: {
                serviceName: 'Microsoft.Databricks/workspaces'
              }
            }
          ]
        }
      }
    ]
  }
}

resource zone 'Microsoft.Network/privateDnsZones@2020-06-01' = [for name in zones: {
  name: name
  location: 'global'
  tags: tags
}]

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2020-06-01' = [for (name, number) in zones: {
  parent: zone[number]
  name: '${prefix}-network'
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: network.id
    }
  }
}]

output name string = network.name
output id string = network.id
output endpointsId string = '${network.id}/subnets/endpoints'
output postgresId string = '${network.id}/subnets/postgres'
output clusterId string = '${network.id}/subnets/cluster'
output dfsZoneId string = zone[0].id
output blobZoneId string = zone[1].id
output vaultZoneId string = zone[2].id
output imagesZoneId string = zone[3].id
output postgresZoneId string = zone[4].id
